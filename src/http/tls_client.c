/*
 * tls_client.c - the name in a client's certificate.
 *
 * Runs in workers; pure. A name becomes a login, so anything odd about it (control
 * bytes, several of them, a NUL within) makes it none.
 */
#include "http/tls_session.h"

#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <string.h>

static bool take(const unsigned char *text, int len, char *out)
{
    if (len <= 0 || len > IO_CLIENT_NAME_MAX)
        return false;
    for (int i = 0; i < len; i++)
        if (text[i] < 0x20 || text[i] == 0x7f)
            return false;
    memcpy(out, text, (size_t)len);
    out[len] = 0;
    return true;
}

/* The subject's only common name; several leave open which one counts. */
static bool common_name(const X509 *certificate, char *out)
{
    const X509_NAME *subject = X509_get_subject_name(certificate);
    int place = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *text = NULL;
    bool good;
    int len;

    if (place < 0 || X509_NAME_get_index_by_NID(subject, NID_commonName, place) >= 0)
        return false;
    len = ASN1_STRING_to_UTF8(&text, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, place)));
    good = take(text, len, out);
    OPENSSL_free(text);
    return good;
}

static void alternative_name(const X509 *certificate, char *out)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if ((name->type == GEN_DNS || name->type == GEN_EMAIL) &&
            take(ASN1_STRING_get0_data(name->d.ia5), ASN1_STRING_length(name->d.ia5), out))
            break;
    }
    GENERAL_NAMES_free(names);
}

void tls_client_name(struct ssl_st *ssl, char *out)
{
    X509 *certificate = SSL_get1_peer_certificate(ssl);

    out[0] = 0;
    if (certificate && SSL_get_verify_result(ssl) == X509_V_OK && !common_name(certificate, out))
        alternative_name(certificate, out);
    X509_free(certificate);
}
