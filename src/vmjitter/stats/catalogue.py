"""Periods of known disturbers, by which a period that was found gets a name.

A match is a hint where to look, no proof: several disturbers share a period, and most periods can
be set.  Listed are the defaults, as read in the sources named; a path is one of the Linux kernel
unless it says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vmjitter.units import NS_PER_MS, NS_PER_S

CLOCKS_DIFFER: Final = 1e-3
"""Two clocks may run at speeds so different."""

_TICK_NS: Final = 10 * NS_PER_MS  # of a kernel with HZ=100, the slowest in use


@dataclass(frozen=True, kw_only=True)
class Known:
    """A disturber that comes by the clock.

    Attributes:
        period_ns: its default period.
        slack_ns: the period may be longer by this.  A timer that counts in ticks and starts anew
            after each time is late by up to a tick each time.
        source: where the period stands.
    """

    name: str
    period_ns: int
    slack_ns: int = 0
    source: str

    def fits(self, period_ns: float, uncertainty_ns: float, *, exactly: bool = False) -> bool:
        """Whether a period that was found may be this one; ``exactly``: without its slack."""
        margin = period_ns * CLOCKS_DIFFER + uncertainty_ns
        slack_ns = 0 if exactly else self.slack_ns
        return self.period_ns - margin <= period_ns <= self.period_ns + slack_ns + margin


def _tick(hz: int) -> Known:
    return Known(
        name=f"timer tick of a kernel with HZ={hz}",
        period_ns=NS_PER_S // hz,
        source="kernel/Kconfig.hz",
    )


def _work(name: str, period_ns: int, source: str) -> Known:
    """Work that the kernel does again and again, with a timer in ticks."""
    slack_ns = min(_TICK_NS, period_ns // 4)
    return Known(name=name, period_ns=period_ns, slack_ns=slack_ns, source=source)


CATALOGUE: Final = (
    _tick(1000),
    _tick(300),
    _tick(250),
    _tick(100),
    _work("ksmd", 20 * NS_PER_MS, "mm/ksm.c, ksm_thread_sleep_millisecs"),
    Known(
        name="display of QEMU (VNC, GTK, SDL)",
        period_ns=30 * NS_PER_MS,
        source="QEMU, include/ui/console.h, GUI_REFRESH_INTERVAL_DEFAULT",
    ),
    Known(
        name="CPU bandwidth control (CFS quota)",
        period_ns=100 * NS_PER_MS,
        source="kernel/sched/fair.c, default_cfs_period",
    ),
    Known(
        name="vmjitter itself, looking at the shared memory",
        period_ns=500 * NS_PER_MS,
        slack_ns=_TICK_NS,
        source="vmjitter, session/measure.py, LOOK_S",
    ),
    _work("clocksource watchdog", 500 * NS_PER_MS, "kernel/time/clocksource.c, WATCHDOG_INTERVAL"),
    _work(
        "kcompactd, proactive",
        500 * NS_PER_MS,
        "mm/compaction.c, HPAGE_FRAG_CHECK_INTERVAL_MSEC",
    ),
    Known(
        name="real-time throttling",
        period_ns=NS_PER_S,
        source="kernel/sched/rt.c, sysctl_sched_rt_period",
    ),
    Known(
        name="fair server of the deadline scheduler",
        period_ns=NS_PER_S,
        source="kernel/sched, dl_period of the fair_server (Linux 6.12 and later)",
    ),
    _work("vmstat_update", NS_PER_S, "mm/vmstat.c, sysctl_stat_interval"),
    _work("EDAC polling", NS_PER_S, "drivers/edac/edac_mc_sysfs.c, edac_mc_poll_msec"),
    _work(
        "NUMA balancing, shortest scan period",
        NS_PER_S,
        "kernel/sched/fair.c, sysctl_numa_balancing_scan_period_min",
    ),
    Known(
        name="display of QEMU without changes",
        period_ns=3 * NS_PER_S,
        source="QEMU, include/ui/console.h, GUI_REFRESH_INTERVAL_IDLE",
    ),
    Known(
        name="soft lockup watchdog",
        period_ns=4 * NS_PER_S,
        source="kernel/watchdog.c, set_sample_period: 2/5 of watchdog_thresh, which is 10 s",
    ),
    _work(
        "writeback of dirty pages", 5 * NS_PER_S, "mm/page-writeback.c, dirty_writeback_interval"
    ),
    _work("ext4 journal commit", 5 * NS_PER_S, "include/linux/jbd2.h, JBD2_DEFAULT_MAX_COMMIT_AGE"),
    _work("load average", 5 * NS_PER_S, "include/linux/sched/loadavg.h, LOAD_FREQ"),
    _work("khugepaged", 10 * NS_PER_S, "mm/khugepaged.c, khugepaged_scan_sleep_millisecs"),
    _work("dirty pages expire", 30 * NS_PER_S, "mm/page-writeback.c, dirty_expire_interval"),
    _work("XFS log worker", 30 * NS_PER_S, "fs/xfs, xfs_syncd_centisecs"),
    _work("btrfs commit", 30 * NS_PER_S, "fs/btrfs, BTRFS_DEFAULT_COMMIT_INTERVAL"),
    Known(
        name="NTP client, shortest poll",
        period_ns=64 * NS_PER_S,
        slack_ns=2 * NS_PER_S,
        source="chrony.conf(5), minpoll: 2^6 s; ntpd likewise",
    ),
    _work("machine check polling", 300 * NS_PER_S, "arch/x86/kernel/cpu/mce, check_interval"),
    _work("KVM clock synchronisation", 300 * NS_PER_S, "arch/x86/kvm/x86.c, KVMCLOCK_SYNC_PERIOD"),
    Known(
        name="clock written to the RTC",
        period_ns=660 * NS_PER_S,
        slack_ns=2 * NS_PER_S,
        source="kernel/time/ntp.c, SYNC_PERIOD_NS",
    ),
)
"""Shortest period first."""


def matching(
    period_ns: float, uncertainty_ns: float, *, exactly: bool = False
) -> tuple[Known, ...]:
    """The known disturbers that have this period, in its order; see `Known.fits`."""
    return tuple(one for one in CATALOGUE if one.fits(period_ns, uncertainty_ns, exactly=exactly))
