"""An engine under a service manager: each process is a unit of its own, the keeper holds the room they meet in.

    hotpath keep (unit keeper)                  hotpath.units.join (unit feed, risk, ...)
        makes the segments, says READY     -->      is started after it
        ROOM/feed.ticket                   -->      takes it, becomes the process
        watches its page and its pidfd     <--      beats, says READY, feeds its watchdog
        sees it die; policy; ticket anew            is started again by the service manager, waits

So the manager owns users, sandboxes, processors and the act of starting; the keeper, which is the supervisor of
`hotpath run` with another kind of child, owns memory, order, arming, kills, and how often a process may come back.
"""
