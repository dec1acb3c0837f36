/*
 * ctr/address.h: an IP address across the line between the core and plugins. Since 1.2.
 */
#ifndef CTR_ADDRESS_H
#define CTR_ADDRESS_H

#include <stdint.h>

struct ctr_address {
    uint32_t family;   /* 4 or 6; 0: none */
    uint8_t bytes[16]; /* network byte order; the first 4 for family 4 */
};

#endif
