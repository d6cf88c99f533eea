/* duty.h: the duty cycle of one process: whichever stages live in it, turn after turn.
 *
 *   free running   while not stopped: for each stage: plan, turn; when none did anything: wait
 *   lockstep       each round hands a baton through feed, signal, risk, gateway, wherever they live;
 *                  a stage makes one turn when the baton is its own
 *
 * Python enters duty_run with the GIL released and comes back from it every `slice_ns` to look at
 * signals and at its supervisor.
 */
#pragma once
#include "layout.h"
#include "feed.h"
#include "gateway.h"
#include "lease.h"
#include "rehearsal.h"
#include "risk.h"
#include "signal_stage.h"
#include "stage.h"

/* Virtual time goes on for so many rounds after the source has ended, so that what is in flight
 * arrives. */
#define LOCKSTEP_TAIL_ROUNDS 64
#define LOCKSTEP_TAIL_STEP_NS 10000000

enum duty_result {
    DUTY_SLICE_OVER,
    DUTY_STOPPED,
    DUTY_FINISHED,
    DUTY_FAILED,
    DUTY_STRATEGIES /* lockstep: it is the strategies' turn, and they live in this process */
};

typedef struct {
    feed_stage *feed;   /* NULL: lives in another process */
    signal_stage *signal;
    risk_stage *risk;
    gateway *gateway;
    control_page *control;
    const clock_page *clock;
    lockstep_page *lockstep; /* NULL: free running */
    doorbell *bell;          /* for WAIT_PARK */
    rehearsal *rehearsal;    /* NULL: none. Only a loop that spins plays it: where it yields, others want the processor */
    leases *leases;          /* NULL: this process keeps none */
    uint64_t looked_time_ns; /* the loop's last look at the world, where leases are kept; 0: none yet */
    uint32_t strategies_here; /* 1: the caller makes their turns, each passed on with duty_pass */
    uint32_t reserved0;
    uint32_t wait;           /* enum wait_strategy */
    uint32_t idle_turns;     /* since anything was done */
    uint64_t park_ns;        /* longest sleep while parked */
    uint64_t heartbeat_time_ns;
    uint64_t rehearsal_time_ns; /* of the next one */
    uint64_t loops;          /* so far, busy or not; free running */
    turn_plan seen;          /* of the present loop; free running */
} duty;

/* Lockstep, for a strategy: wait until the turn of number `strategy` has come (DUTY_STRATEGIES), the run is over
 * (DUTY_FINISHED) or stopped, or `slice_ns` has passed. */
int duty_await(const lockstep_page *page, const control_page *control, const clock_page *clock, uint32_t strategy,
               uint64_t slice_ns);
/* Lockstep: whoever has the baton passes it on. */
void duty_pass(lockstep_page *page);

/* Run until stopped, finished, failed, or `slice_ns` has passed. */
int duty_run(duty *duty, uint64_t slice_ns);
