/*
 * tls.c - certificates, names and session tickets of HTTPS connectors.
 *
 * Workers make and use these objects. Ticket keys lie in memory that all share: the master alone
 * writes it, a slot is written again only three rotations after its last use for sealing. A crash
 * of a worker leaves the ticket keys to the others; of the master, sessions that are begun anew.
 */
#include "http/tls.h"

#include "base/file.h"
#include "base/mem.h"
#include "http/tls_session.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <time.h>

#define TICKET_KEYS     4 /* one seals, two more open, one is being written */
#define TICKET_NAME     16
#define TICKET_SECRET   32
#define SESSION_SECONDS 7200
/* Forward secrecy and authenticated encryption only; TLS 1.3's own suites are all so. */
#define SUITES "ECDHE+AESGCM:ECDHE+CHACHA20"

struct ticket_key {
    uint8_t name[TICKET_NAME], cipher[TICKET_SECRET], mac[TICKET_SECRET];
};

struct tls_tickets {
    _Atomic uint32_t current; /* counts rotations; its key is at current % TICKET_KEYS */
    struct ticket_key keys[TICKET_KEYS];
};

struct tls_name {
    char *name; /* NULL: the default */
    SSL_CTX *ctx;
};

struct tls {
    struct tls_name *names; /* the default first */
    size_t count;
    struct tls_tickets *tickets;
    char *buffer; /* TLS_BUFFER bytes; made when first used, so each worker has its own */
};

struct tls_tickets *tls_tickets_new(void)
{
    struct tls_tickets *tickets =
        mmap(NULL, sizeof(*tickets), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (tickets == MAP_FAILED)
        return NULL;
    for (size_t i = 0; i < TICKET_KEYS; i++) /* no key may be a known one, not even unused */
        tls_tickets_rotate(tickets);
    return tickets;
}

void tls_tickets_close(struct tls_tickets **tickets)
{
    if (*tickets)
        munmap(*tickets, sizeof(**tickets));
    *tickets = NULL;
}

void tls_tickets_rotate(struct tls_tickets *tickets)
{
    uint32_t next = atomic_load_explicit(&tickets->current, memory_order_relaxed) + 1;

    file_random(&tickets->keys[next % TICKET_KEYS], sizeof(struct ticket_key));
    atomic_store_explicit(&tickets->current, next, memory_order_release);
}

static int ticket_setup(const struct ticket_key *key, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                        EVP_MAC_CTX *mac, int seal)
{
    char hash[] = "SHA256";
    OSSL_PARAM params[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, (void *)(uintptr_t)key->mac,
                                          TICKET_SECRET),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, hash, 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, key->cipher, iv, seal) == 1 &&
           EVP_MAC_CTX_set_params(mac, params) == 1;
}

/* SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 done, 2 open and seal anew, 0 unknown, -1 failed. */
static int ticket_key(SSL *ssl, unsigned char name[TICKET_NAME], unsigned char *iv,
                      EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int seal)
{
    const struct tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    uint32_t current = atomic_load_explicit(&tls->tickets->current, memory_order_acquire);
    const struct ticket_key *key = &tls->tickets->keys[current % TICKET_KEYS];

    if (seal) {
        memcpy(name, key->name, TICKET_NAME);
        file_random(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc()));
        return ticket_setup(key, iv, cipher, mac, 1) ? 1 : -1;
    }
    for (uint32_t age = 0; age < TICKET_KEYS - 1; age++) {
        key = &tls->tickets->keys[(current - age) % TICKET_KEYS];
        if (memcmp(name, key->name, TICKET_NAME) != 0)
            continue;
        if (!ticket_setup(key, iv, cipher, mac, 0))
            return -1;
        return age == 0 ? 1 : 2;
    }
    return 0;
}

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg)
{
    static const unsigned char ours[] = "\x08http/1.1";
    unsigned char *chosen;

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto(&chosen, out_len, ours, sizeof(ours) - 1, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_NOACK; /* what has no name in common speaks HTTP/1.1 anyway */
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int choose_certificate(SSL *ssl, int *alert, void *arg)
{
    const struct tls *tls = arg;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    (void)alert;
    for (size_t i = 1; name && i < tls->count; i++)
        if (strcasecmp(tls->names[i].name, name) == 0)
            SSL_set_SSL_CTX(ssl, tls->names[i].ctx);
    return SSL_TLSEXT_ERR_OK; /* a name of no certificate gets the default one */
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

static int complain(struct str *why, const char *path, const char *what)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());

    str_printf(why, "%s: %s%s%s\n", path, what, reason ? ": " : "", reason ? reason : "");
    ERR_clear_error();
    return ERR_INVALID;
}

static int load_certificate(SSL_CTX *ctx, const struct tls_file *file, struct str *why)
{
    BIO *in = BIO_new_mem_buf(file->data, (int)file->len);
    X509 *certificate = in ? PEM_read_bio_X509_AUX(in, NULL, no_password, NULL) : NULL;
    int err = 0;

    if (!certificate || SSL_CTX_use_certificate(ctx, certificate) != 1)
        err = complain(why, file->path, "no certificate in PEM form can be read from it");
    X509_free(certificate);
    while (err == 0 && (certificate = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL)
        if (SSL_CTX_add0_chain_cert(ctx, certificate) != 1) {
            X509_free(certificate);
            err = complain(why, file->path, "its chain cannot be used");
        }
    ERR_clear_error(); /* the end of the file is one */
    BIO_free(in);
    return err;
}

static int load_key(SSL_CTX *ctx, const struct tls_file *file, struct str *why)
{
    BIO *in = BIO_new_mem_buf(file->data, (int)file->len);
    EVP_PKEY *key = in ? PEM_read_bio_PrivateKey(in, NULL, no_password, NULL) : NULL;
    int err = 0;

    if (!key)
        err = complain(why, file->path,
                       "no private key in PEM form without a password can be read from it");
    else if (SSL_CTX_use_PrivateKey(ctx, key) != 1 || SSL_CTX_check_private_key(ctx) != 1)
        err = complain(why, file->path, "is not the key of the certificate");
    EVP_PKEY_free(key);
    BIO_free(in);
    return err;
}

static int load_pair(SSL_CTX *ctx, const struct tls_pair *pair, struct str *why)
{
    int err;

    ERR_clear_error();
    err = load_certificate(ctx, &pair->certificate, why);
    return err != 0 ? err : load_key(ctx, &pair->key, why);
}

/* A session may be resumed only where its certificate was verified against the
 * same CAs: what is in their file names the place. */
static bool session_place(SSL_CTX *ctx, const struct tls_file *client_ca)
{
    unsigned char id[SSL_MAX_SID_CTX_LENGTH] = "entrepot";
    unsigned len = sizeof("entrepot") - 1;

    if (client_ca->data &&
        EVP_Digest(client_ca->data, client_ca->len, id, &len, EVP_sha256(), NULL) != 1)
        return false;
    return SSL_CTX_set_session_id_context(ctx, id, len) == 1;
}

static int load_client_ca(SSL_CTX *ctx, const struct tls_file *file, struct str *why)
{
    BIO *in = BIO_new_mem_buf(file->data, (int)file->len);
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    size_t count = 0;
    X509 *ca;
    int err = 0;

    ERR_clear_error();
    while (err == 0 && in && (ca = PEM_read_bio_X509(in, NULL, no_password, NULL)) != NULL) {
        if (X509_check_ca(ca) == 0)
            err = complain(why, file->path, "holds a certificate that is no CA's");
        else if (X509_STORE_add_cert(store, ca) != 1 || SSL_CTX_add_client_CA(ctx, ca) != 1)
            err = complain(why, file->path, "a certificate in it cannot be used");
        X509_free(ca);
        count++;
    }
    BIO_free(in);
    if (err == 0 && count == 0)
        err = complain(why, file->path, "no certificate in PEM form can be read from it");
    ERR_clear_error(); /* the end of the file is one */
    SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
    return err;
}

static SSL_CTX *context_new(struct tls *tls)
{
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

    if (!ctx)
        return NULL;
    SSL_CTX_set_app_data(ctx, tls);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(ctx, SUITES);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_ENABLE_KTLS |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ctx, SESSION_SECONDS);
    SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, ticket_key);
    SSL_CTX_set_tlsext_servername_callback(ctx, choose_certificate);
    SSL_CTX_set_tlsext_servername_arg(ctx, tls);
    SSL_CTX_set_alpn_select_cb(ctx, choose_protocol, NULL);
    return ctx;
}

int tls_new(const struct tls_pairs *pairs, struct tls_tickets *tickets, struct tls **tls_r,
            struct str *why)
{
    struct tls *tls = mem_alloc(sizeof(*tls));
    int err = 0;

    tls->names = mem_alloc_array(pairs->count, sizeof(*tls->names));
    tls->tickets = tickets;
    for (size_t i = 0; i < pairs->count; i++) {
        struct tls_name *name = &tls->names[tls->count++];
        int pair_err;

        name->name = pairs->pairs[i].name ? mem_strdup(pairs->pairs[i].name) : NULL;
        name->ctx = context_new(tls);
        pair_err = name->ctx && session_place(name->ctx, &pairs->client_ca)
                       ? load_pair(name->ctx, &pairs->pairs[i], why)
                       : ERR_UNAVAILABLE;
        if (pair_err == 0 && pairs->client_ca.data)
            pair_err = load_client_ca(name->ctx, &pairs->client_ca, why);
        if (pair_err != 0)
            err = pair_err; /* and on: every mistake is told at once */
    }
    if (err != 0)
        tls_free(&tls);
    *tls_r = tls;
    return err;
}

static void date_of(const X509 *certificate, const char *path, struct str *warnings)
{
    const ASN1_TIME *first = X509_get0_notBefore(certificate);
    const ASN1_TIME *last = X509_get0_notAfter(certificate);
    bool over = X509_cmp_current_time(last) < 0;
    struct tm tm;

    if (!over && X509_cmp_current_time(first) <= 0)
        return;
    if (ASN1_TIME_to_tm(over ? last : first, &tm) == 1)
        str_printf(
            warnings,
            "%s: %s %04d-%02d-%02d, if this machine's clock is right: clients refuse it; %s\n",
            path, over ? "its last day was" : "its first day is", tm.tm_year + 1900, tm.tm_mon + 1,
            tm.tm_mday,
            over ? "renew it (entrepotctl cert --force renews what entrepotctl cert made)"
                 : "wait, or set the clock");
}

void tls_dates(const struct tls *tls, const struct tls_pairs *pairs, struct str *warnings)
{
    BIO *text = pairs->client_ca.data
                    ? BIO_new_mem_buf(pairs->client_ca.data, (int)pairs->client_ca.len)
                    : NULL;
    X509 *ca;

    for (size_t i = 0; i < tls->count; i++)
        date_of(SSL_CTX_get0_certificate(tls->names[i].ctx), pairs->pairs[i].certificate.path,
                warnings);
    while (text && (ca = PEM_read_bio_X509(text, NULL, NULL, NULL)) != NULL) {
        date_of(ca, pairs->client_ca.path, warnings);
        X509_free(ca);
    }
    BIO_free(text);
}

void tls_free(struct tls **tls_p)
{
    struct tls *tls = *tls_p;

    *tls_p = NULL;
    if (!tls)
        return;
    for (size_t i = 0; i < tls->count; i++) {
        SSL_CTX_free(tls->names[i].ctx);
        free(tls->names[i].name);
    }
    free(tls->names);
    free(tls->buffer);
    free(tls);
}

SSL *tls_accept(struct tls *tls)
{
    return SSL_new(tls->names[0].ctx);
}

char *tls_buffer(struct tls *tls)
{
    if (!tls->buffer)
        tls->buffer = mem_alloc(TLS_BUFFER);
    return tls->buffer;
}
