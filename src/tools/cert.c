/*
 * cert.c - keys and certificates: OpenSSL behind strings in PEM form.
 *
 * Runs in entrepotctl. Pure but for the clock and random numbers; owns nothing
 * beyond a call.
 */
#include "tools/cert.h"

#include <arpa/inet.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <string.h>

#define NAME_MAX_BYTES 253
#define LABEL_MAX      63
#define CN_MAX         64 /* RFC 5280, ub-common-name */
#define DAY_S          86400
#define SKEW_S         3600 /* clients' clocks may be behind */
#define SERIAL_BITS    159  /* positive, at most 20 bytes: RFC 5280 section 4.1.2.2 */

static int complain(struct str *why, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    str_printf(why, "%s%s%s", what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return ERR_INVALID;
}

static bool is_address(const char *name)
{
    struct in6_addr any;

    return inet_pton(AF_INET, name, &any) == 1 || inet_pton(AF_INET6, name, &any) == 1;
}

static bool label_ok(const char *label, size_t len)
{
    return len >= 1 && len <= LABEL_MAX && label[0] != '-' && label[len - 1] != '-' &&
           strspn(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") >= len;
}

const char *cert_name_check(char *name)
{
    const char *at = name;

    for (char *p = name; *p; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    if (is_address(name))
        return NULL;
    if (strlen(name) > NAME_MAX_BYTES)
        return "is longer than any host name";
    if (strchr(name, ':') || strchr(name, '/'))
        return "is neither a host name nor an address; write it without a port and without "
               "https://";
    if (strspn(name, "0123456789.") == strlen(name))
        return "is not an IPv4 address";
    if (strncmp(at, "*.", 2) == 0)
        at += 2;
    for (;;) {
        size_t len = strcspn(at, ".");

        if (!label_ok(at, len))
            return "is not a host name; write letters, digits, dots and dashes";
        if (!at[len])
            return NULL;
        at += len + 1;
    }
}

static int take_pem(BIO *out, struct str *pem_r)
{
    char *data;
    long len = BIO_get_mem_data(out, &data);

    str_append(pem_r, data, (size_t)len);
    OPENSSL_cleanse(data, (size_t)len);
    return 0;
}

static BIO *reader(const struct str *pem)
{
    return BIO_new_mem_buf(pem->data ? pem->data : "", (int)pem->len);
}

/* Nobody is there to be asked for a password. */
static int no_password(char *buf, int size, int writing, void *arg)
{
    (void)buf;
    (void)size;
    (void)writing;
    (void)arg;
    return 0;
}

static EVP_PKEY *read_key(const struct str *pem)
{
    BIO *in = reader(pem);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;

    BIO_free(in);
    return key;
}

static X509 *read_certificate(const struct str *pem)
{
    BIO *in = reader(pem);
    X509 *certificate = in ? PEM_read_bio_X509(in, NULL, no_password, NULL) : NULL;

    BIO_free(in);
    return certificate;
}

int cert_key_new(struct str *key_r, struct str *why)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    BIO *out = BIO_new(BIO_s_mem());
    int err;

    if (key && out && PEM_write_bio_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1)
        err = take_pem(out, key_r);
    else
        err = complain(why, "cannot make a key");
    BIO_free(out);
    EVP_PKEY_free(key);
    return err;
}

static bool put_serial(X509 *c)
{
    BIGNUM *n = BN_new();
    bool good = n && BN_rand(n, SERIAL_BITS, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ANY) == 1 &&
                BN_to_ASN1_INTEGER(n, X509_get_serialNumber(c)) != NULL;

    BN_free(n);
    return good;
}

static bool put_extension(X509 *c, X509 *issuer, int nid, const char *value)
{
    X509_EXTENSION *extension;
    X509V3_CTX ctx;
    bool good;

    X509V3_set_ctx_nodb(&ctx);
    X509V3_set_ctx(&ctx, issuer, c, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    good = extension && X509_add_ext(c, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

static bool put_subject(X509 *c, const char *name)
{
    return X509_NAME_add_entry_by_NID(X509_get_subject_name(c), NID_commonName, MBSTRING_UTF8,
                                      (const unsigned char *)name, -1, -1, 0) == 1;
}

/* Everything that CA and server certificates share. */
static X509 *begin(EVP_PKEY *key)
{
    X509 *c = X509_new();

    if (c && X509_set_version(c, X509_VERSION_3) == 1 && put_serial(c) &&
        X509_set_pubkey(c, key) == 1 && X509_gmtime_adj(X509_getm_notBefore(c), -SKEW_S))
        return c;
    X509_free(c);
    return NULL;
}

static int finish(X509 *c, EVP_PKEY *signer, struct str *certificate_r, struct str *why)
{
    BIO *out = BIO_new(BIO_s_mem());
    int err;

    if (out && X509_sign(c, signer, EVP_sha256()) > 0 && PEM_write_bio_X509(out, c) == 1)
        err = take_pem(out, certificate_r);
    else
        err = complain(why, "cannot sign the certificate");
    BIO_free(out);
    return err;
}

int cert_ca_new(const struct str *key_pem, const char *name, struct str *certificate_r,
                struct str *why)
{
    EVP_PKEY *key = read_key(key_pem);
    X509 *c = key ? begin(key) : NULL;
    int err;

    if (c && X509_gmtime_adj(X509_getm_notAfter(c), (long)CERT_CA_DAYS * DAY_S) &&
        put_subject(c, name) && X509_set_issuer_name(c, X509_get_subject_name(c)) == 1 &&
        put_extension(c, c, NID_basic_constraints, "critical,CA:TRUE,pathlen:0") &&
        put_extension(c, c, NID_key_usage, "critical,keyCertSign,cRLSign") &&
        put_extension(c, c, NID_subject_key_identifier, "hash") &&
        put_extension(c, c, NID_authority_key_identifier, "keyid:always"))
        err = finish(c, key, certificate_r, why);
    else
        err = complain(why, key ? "cannot make the CA" : "the CA's key cannot be read");
    X509_free(c);
    EVP_PKEY_free(key);
    return err;
}

/* "DNS:a.example,IP:10.0.0.1"; critical when there is no subject. */
static void names_text(const struct cert_names *names, bool critical, struct str *text)
{
    if (critical)
        str_puts(text, "critical");
    for (size_t i = 0; i < names->count; i++)
        str_printf(text, "%s%s:%s", text->len > 0 ? "," : "",
                   is_address(names->names[i]) ? "IP" : "DNS", names->names[i]);
}

static bool put_end(X509 *c, const X509 *ca)
{
    const ASN1_TIME *last = X509_get0_notAfter(ca);

    if (!X509_gmtime_adj(X509_getm_notAfter(c), (long)CERT_SERVER_DAYS * DAY_S))
        return false;
    return ASN1_TIME_compare(X509_get0_notAfter(c), last) <= 0 || X509_set1_notAfter(c, last) == 1;
}

static bool put_server(X509 *c, X509 *ca, const struct cert_names *names)
{
    bool subject = strlen(names->names[0]) <= CN_MAX;
    struct str text = {0};
    bool good;

    names_text(names, !subject, &text);
    good = put_end(c, ca) && (!subject || put_subject(c, names->names[0])) &&
           X509_set_issuer_name(c, X509_get_subject_name(ca)) == 1 &&
           put_extension(c, ca, NID_basic_constraints, "critical,CA:FALSE") &&
           put_extension(c, ca, NID_key_usage, "critical,digitalSignature") &&
           put_extension(c, ca, NID_ext_key_usage, "serverAuth") &&
           put_extension(c, ca, NID_subject_key_identifier, "hash") &&
           put_extension(c, ca, NID_authority_key_identifier, "keyid:always") &&
           put_extension(c, ca, NID_subject_alt_name, text.data);
    str_free(&text);
    return good;
}

/* What keeps a CA from signing; NULL: nothing. */
static const char *ca_fault(X509 *ca, EVP_PKEY *ca_key)
{
    if (!ca)
        return "the CA's certificate cannot be read";
    if (!ca_key)
        return "the CA's key cannot be read";
    if (X509_check_private_key(ca, ca_key) != 1)
        return "the CA's key is not that of its certificate";
    if (X509_check_ca(ca) != 1)
        return "what stands in the CA's place is the certificate of no CA";
    if (X509_cmp_current_time(X509_get0_notAfter(ca)) < 0)
        return "the CA has expired; remove its two files to make a new one, which clients must get";
    return NULL;
}

int cert_server_new(const struct str *ca_pem, const struct str *ca_key_pem,
                    const struct str *key_pem, const struct cert_names *names,
                    struct str *certificate_r, struct str *why)
{
    X509 *ca = read_certificate(ca_pem), *c = NULL;
    EVP_PKEY *ca_key = read_key(ca_key_pem), *key = read_key(key_pem);
    const char *fault = ca_fault(ca, ca_key);
    int err;

    if (!fault && !key)
        fault = "the server's key cannot be read";
    ERR_clear_error();
    if (!fault) {
        c = begin(key);
        if (!c || !put_server(c, ca, names))
            fault = "cannot make the certificate";
    }
    err = fault ? complain(why, fault) : finish(c, ca_key, certificate_r, why);
    X509_free(c);
    X509_free(ca);
    EVP_PKEY_free(ca_key);
    EVP_PKEY_free(key);
    return err;
}

int cert_end(const struct str *certificate, time_t *end_r, struct str *why)
{
    X509 *c = read_certificate(certificate);
    struct tm tm;
    int err = 0;

    if (c && ASN1_TIME_to_tm(X509_get0_notAfter(c), &tm) == 1)
        *end_r = timegm(&tm);
    else
        err = complain(why, "no certificate in PEM form can be read");
    X509_free(c);
    return err;
}
