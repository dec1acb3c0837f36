/*
 * DNS names and messages as bytes (RFC 1035, 4.1): what hostile bytes must pass before ldns takes them apart.
 *
 * A message is walked once, with work in proportion to its length: pointers lead backwards only, names have at most 255 bytes and 127 pointers, the fields of an
 * RR's data, known from ldns' own table of types, fill it exactly.
 */
#include "core/dns/dns-priv.h"

#define MAX_POINTERS 127

uint16_t
ctr_dns_u16(const uint8_t *bytes)
{
    return (uint16_t) (bytes[0] << 8 | bytes[1]);
}

static uint8_t
lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t) (c + ('a' - 'A')) : c;
}

static void
add_label(struct ctr_dns_name *name, const uint8_t *label, size_t length)
{
    name->bytes[name->length++] = (uint8_t) length;
    for (size_t i = 0; i < length; i++) {
        name->bytes[name->length++] = lower(label[i]);
    }
}

int
ctr_dns_name_read(const uint8_t *bytes, size_t length, size_t *at, struct ctr_dns_name *ret)
{
    struct ctr_dns_name name = {0};
    size_t pos = *at, end = 0;
    int pointers = 0;
    for (;;) {
        if (pos >= length) {
            return -EBADMSG;
        }
        size_t label = bytes[pos];
        if (label >= 0xc0) {
            size_t target = pos + 1 < length ? ctr_dns_u16(bytes + pos) & 0x3fff : length;
            if (target < CTR_DNS_HEADER || target >= pos || ++pointers > MAX_POINTERS) {
                return -EBADMSG;
            }
            end = end == 0 ? pos + 2 : end;
            pos = target;
            continue;
        }
        if (label > 63 || pos + 1 + label > length ||
            name.length + 1 + label + (label != 0) > sizeof name.bytes) {
            return -EBADMSG;
        }
        add_label(&name, bytes + pos + 1, label);
        pos += 1 + label;
        if (label == 0) {
            break;
        }
    }
    *at = end == 0 ? pos : end;
    if (ret != NULL) {
        *ret = name;
    }
    return 0;
}

int
ctr_dns_name_parse(const char *text, struct ctr_dns_name *ret)
{
    struct ctr_dns_name name = {0};
    while (*text != '\0') {
        size_t n = strcspn(text, ".");
        if (n == 0 || n > 63 || name.length + n + 2 > sizeof name.bytes) {
            return -EINVAL;
        }
        add_label(&name, (const uint8_t *) text, n);
        text += n + (text[n] == '.');
    }
    if (name.length == 0) {
        return -EINVAL;
    }
    add_label(&name, NULL, 0);
    *ret = name;
    return 0;
}

const char *
ctr_dns_name_text(const struct ctr_dns_name *name, char ret[CTR_DNS_TEXT])
{
    size_t n = 0;
    ret[0] = '\0';
    for (size_t pos = 0; pos < name->length && name->bytes[pos] != 0;) {
        size_t end = pos + 1 + name->bytes[pos];
        if (pos > 0) {
            ret[n++] = '.';
        }
        for (pos++; pos < end; pos++) {
            uint8_t c = name->bytes[pos];
            bool plain =
                (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
            n += (size_t) snprintf(ret + n, CTR_DNS_TEXT - n, plain ? "%c" : "\\%03u", c);
        }
    }
    ret[n] = '\0';
    return ret;
}

bool
ctr_dns_name_equal(const struct ctr_dns_name *a, const struct ctr_dns_name *b)
{
    return a->length == b->length && memcmp(a->bytes, b->bytes, a->length) == 0;
}

/* Bytes of a field that is no name, as ldns_wire2rdf takes them; at least one byte is there. */
static size_t
field_length(ldns_rdf_type type, const uint8_t *field, size_t left)
{
    switch (type) {
    case LDNS_RDF_TYPE_CLASS:
    case LDNS_RDF_TYPE_ALG:
    case LDNS_RDF_TYPE_CERTIFICATE_USAGE:
    case LDNS_RDF_TYPE_SELECTOR:
    case LDNS_RDF_TYPE_MATCHING_TYPE:
    case LDNS_RDF_TYPE_INT8:
        return 1;
    case LDNS_RDF_TYPE_TYPE:
    case LDNS_RDF_TYPE_INT16:
    case LDNS_RDF_TYPE_CERT_ALG:
        return 2;
    case LDNS_RDF_TYPE_TIME:
    case LDNS_RDF_TYPE_INT32:
    case LDNS_RDF_TYPE_A:
    case LDNS_RDF_TYPE_PERIOD:
        return 4;
    case LDNS_RDF_TYPE_TSIGTIME:
    case LDNS_RDF_TYPE_EUI48:
        return 6;
    case LDNS_RDF_TYPE_ILNP64:
    case LDNS_RDF_TYPE_EUI64:
        return 8;
    case LDNS_RDF_TYPE_AAAA:
        return 16;
    case LDNS_RDF_TYPE_STR:
    case LDNS_RDF_TYPE_NSEC3_SALT:
    case LDNS_RDF_TYPE_TAG:
    case LDNS_RDF_TYPE_B32_EXT:
    case LDNS_RDF_TYPE_NSEC3_NEXT_OWNER:
        return (size_t) field[0] + 1;
    case LDNS_RDF_TYPE_INT16_DATA:
        return left < 2 ? left + 1 : (size_t) ctr_dns_u16(field) + 2;
    case LDNS_RDF_TYPE_HIP:
        return left < 4 ? left + 1 : (size_t) field[0] + ctr_dns_u16(field + 2) + 4;
    default:
        return left; /* the rest holds no names that ldns would follow */
    }
}

static bool
data_ok(const uint8_t *bytes, size_t at, size_t end, uint16_t type)
{
    const ldns_rr_descriptor *descriptor = ldns_rr_descript(type);
    size_t fields = ldns_rr_descriptor_maximum(descriptor);
    for (size_t i = 0; i < fields && at < end; i++) {
        ldns_rdf_type field = ldns_rr_descriptor_field_type(descriptor, i);
        if (field != LDNS_RDF_TYPE_DNAME) {
            at += field_length(field, bytes + at, end - at);
        } else if (ctr_dns_name_read(bytes, end, &at, NULL) != 0) {
            return false;
        }
    }
    return at == end;
}

/* Reads one RR; counts those that may stand only once. */
static bool
rr_ok(const uint8_t *bytes, size_t length, size_t *at, bool question, unsigned *once)
{
    size_t head = question ? 4 : 10;
    if (ctr_dns_name_read(bytes, length, at, NULL) != 0 || length - *at < head) {
        return false;
    }
    const uint8_t *rr = bytes + *at;
    uint16_t type = ctr_dns_u16(rr);
    *at += head;
    if (question) {
        return true;
    }
    size_t data = ctr_dns_u16(rr + 8), end = *at + data;
    unsigned bit = type == LDNS_RR_TYPE_OPT ? 1 : type == LDNS_RR_TYPE_TSIG ? 2 : 0;
    if (data > length - *at || (*once & bit) != 0 || !data_ok(bytes, *at, end, type)) {
        return false;
    }
    *once |= bit;
    *at = end;
    return true;
}

bool
ctr_dns_wire_ok(const uint8_t *bytes, size_t length)
{
    size_t at = CTR_DNS_HEADER;
    unsigned once = 0;
    if (length < CTR_DNS_HEADER || length > CTR_DNS_STREAM_MAX) {
        return false;
    }
    for (int section = 0; section < 4; section++) {
        for (unsigned n = ctr_dns_u16(bytes + 4 + 2 * section); n > 0; n--) {
            if (!rr_ok(bytes, length, &at, section == 0, &once)) {
                return false;
            }
        }
    }
    return at == length;
}
