/* soup.h: SoupBinTCP 3.00 framing: uint16 length (of type and payload), type, payload. */
#pragma once
#include "layout.h"

#define SOUP_HEADER_SIZE 3

enum soup_type {
    SOUP_DEBUG = '+',
    SOUP_LOGIN_ACCEPTED = 'A',
    SOUP_LOGIN_REJECTED = 'J',
    SOUP_SEQUENCED = 'S',
    SOUP_SERVER_HEARTBEAT = 'H',
    SOUP_END_OF_SESSION = 'Z',
    SOUP_LOGIN_REQUEST = 'L',
    SOUP_UNSEQUENCED = 'U',
    SOUP_CLIENT_HEARTBEAT = 'R',
    SOUP_LOGOUT_REQUEST = 'O'
};

enum soup_status { SOUP_OK, SOUP_NEED_MORE, SOUP_BAD_LENGTH, SOUP_BAD_FIELD };

typedef struct {
    const uint8_t *payload;
    uint32_t length; /* of the payload */
    uint32_t size;   /* of the whole packet: consume this many bytes */
    uint8_t type;
    uint8_t reserved[7];
} soup_packet;

typedef struct {
    char username[6];
    char password[10];
    char session[10];
    uint8_t reserved[6];
    uint64_t sequence;
} soup_login; /* fields space-padded as on the wire */

/* The packet that stands at `bytes`: SOUP_NEED_MORE while it is not whole, SOUP_BAD_LENGTH when no
 * packet can begin so (drop the connection: framing is lost). The type is the caller's to judge. */
int soup_parse(const uint8_t *bytes, uint64_t available, soup_packet *packet);
/* Bytes written, 0 when they do not fit. The payload may already stand in its place in `target`. */
uint32_t soup_encode(uint8_t type, const uint8_t *payload, uint32_t length, uint8_t *target, uint32_t capacity);
uint32_t soup_login_encode(const soup_login *login, uint8_t *target, uint32_t capacity);
/* SOUP_BAD_FIELD: another type, or no number where one should be (digits, spaces before or after). */
int soup_login_decode(const soup_packet *packet, soup_login *login);
/* `session` is 10 characters, here and below. */
uint32_t soup_accept_encode(const char *session, uint64_t sequence, uint8_t *target, uint32_t capacity);
int soup_accept_decode(const soup_packet *packet, char *session, uint64_t *sequence);
