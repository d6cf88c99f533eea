/* soup.c: SoupBinTCP framing and logins. See include/soup.h.
 *
 *   |0 length of what follows (2)|2 type|3 payload ...|
 *   login request:  |username (6)|password (10)|session (10)|sequence, digits (20)|
 *   login accepted: |session (10)|sequence, digits (20)|
 */
#include "soup.h"
#include "wire_inline.h"

#define SESSION_SIZE 10
#define LOGIN_SIZE 46
#define ACCEPT_SIZE 30

int soup_parse(const uint8_t *bytes, uint64_t available, soup_packet *packet) {
    if (available < 2) return SOUP_NEED_MORE;
    uint32_t length = wire_load16(bytes);
    if (length == 0) return SOUP_BAD_LENGTH;
    if (available < 2 + (uint64_t)length) return SOUP_NEED_MORE;
    packet->payload = bytes + SOUP_HEADER_SIZE;
    packet->length = length - 1;
    packet->size = 2 + length;
    packet->type = bytes[2];
    memset(packet->reserved, 0, sizeof packet->reserved);
    return SOUP_OK;
}

uint32_t soup_encode(uint8_t type, const uint8_t *payload, uint32_t length, uint8_t *target, uint32_t capacity) {
    if (length > UINT16_MAX - 1 || capacity < SOUP_HEADER_SIZE + length) return 0;
    wire_store16(target, (uint16_t)(length + 1));
    target[2] = type;
    if (length && payload != target + SOUP_HEADER_SIZE) memmove(target + SOUP_HEADER_SIZE, payload, length);
    return SOUP_HEADER_SIZE + length;
}

uint32_t soup_login_encode(const soup_login *login, uint8_t *target, uint32_t capacity) {
    uint8_t payload[LOGIN_SIZE];
    memcpy(payload, login->username, 6);
    memcpy(payload + 6, login->password, 10);
    memcpy(payload + 16, login->session, SESSION_SIZE);
    wire_store_digits(payload + 26, login->sequence);
    return soup_encode(SOUP_LOGIN_REQUEST, payload, LOGIN_SIZE, target, capacity);
}

int soup_login_decode(const soup_packet *packet, soup_login *login) {
    uint64_t sequence;
    if (packet->type != SOUP_LOGIN_REQUEST) return SOUP_BAD_FIELD;
    if (packet->length != LOGIN_SIZE) return SOUP_BAD_LENGTH;
    if (!wire_load_digits(packet->payload + 26, &sequence)) return SOUP_BAD_FIELD;
    memset(login, 0, sizeof *login);
    memcpy(login->username, packet->payload, 6);
    memcpy(login->password, packet->payload + 6, 10);
    memcpy(login->session, packet->payload + 16, SESSION_SIZE);
    login->sequence = sequence;
    return SOUP_OK;
}

uint32_t soup_accept_encode(const char *session, uint64_t sequence, uint8_t *target, uint32_t capacity) {
    uint8_t payload[ACCEPT_SIZE];
    memcpy(payload, session, SESSION_SIZE);
    wire_store_digits(payload + SESSION_SIZE, sequence);
    return soup_encode(SOUP_LOGIN_ACCEPTED, payload, ACCEPT_SIZE, target, capacity);
}

int soup_accept_decode(const soup_packet *packet, char *session, uint64_t *sequence) {
    if (packet->type != SOUP_LOGIN_ACCEPTED) return SOUP_BAD_FIELD;
    if (packet->length != ACCEPT_SIZE) return SOUP_BAD_LENGTH;
    if (!wire_load_digits(packet->payload + SESSION_SIZE, sequence)) return SOUP_BAD_FIELD;
    memcpy(session, packet->payload, SESSION_SIZE);
    return SOUP_OK;
}
