/* capture.h: packets of a capture file given to a line as if it had received them.
 *
 *   pcap file --(pcap.h, flows chosen)--> packets in file order --line_packet_in, at the capture's own time--> raw
 *
 * The line's clock is the capture's: waits and time-outs pass as they passed then, and a packet's ingress time is
 * its stamp, shifted to the engine clock where the capture is played at a pace. After the last packet time goes on
 * until nothing is waited for.
 */
#pragma once
#include "layout.h"
#include "line.h"
#include "pcap.h"
#include "source.h"

typedef struct {
    const uint8_t *bytes;      /* of the file; the caller's, unchanged while the capture lives */
    const pcap_packet *packet; /* UDP packets of the flows to follow */
    const uint8_t *side;       /* of each: enum line_source */
    uint64_t count;
    uint64_t next;
    uint64_t time_ns;          /* of the last packet given, by the capture's clock; never back */
    uint64_t start_time_ns;    /* engine clock at the first packet; 0 = not yet */
    uint64_t speed_ppm;        /* of SOURCE_RECORDED; 0 is taken for 1,000,000 */
    uint32_t pace;             /* SOURCE_FLAT_OUT: the ingress time is the stamp; SOURCE_RECORDED: when it is due now */
    uint32_t finished;         /* and raw holds all that came of it */
} capture;

/* Give what is due by `now_ns` and fits: packets until something was published, at most `packets_max`. */
void capture_poll(capture *capture, line *line, ring_writer *raw, uint64_t now_ns, uint32_t packets_max);
