"""Trees of /proc and /sys of machines that are not here, and of QEMUs that do not run."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from vmjitter.doctor.probe import look
from vmjitter.doctor.view import Facts, HostView

Files = dict[str, str]
_CPU = "/sys/devices/system/cpu"
_CLOCK = "/sys/devices/system/clocksource/clocksource0"
_KVM = "/sys/module/kvm/parameters"
_DISTRIBUTION = (
    "CONFIG_HIGH_RES_TIMERS=y\nCONFIG_NO_HZ_FULL=y\nCONFIG_RCU_NOCB_CPU=y\nCONFIG_CPU_ISOLATION=y\n"
    "CONFIG_SCHED_INFO=y\nCONFIG_VHOST_NET=m\nCONFIG_KPROBES=y\nCONFIG_OSNOISE_TRACER=y\n"
    "CONFIG_TIMERLAT_TRACER=y\nCONFIG_HWLAT_TRACER=y\n"
)
_INTEL = "vmx constant_tsc nonstop_tsc tsc_deadline_timer"

WELL = Facts(
    root=True,
    fifo_allowed=True,
    fifo_refused="",
    kvm_api="",
    kvm_trial="",
    qemu="9.2.0",
    dma_latency_us=2_000_000_000,
    memlock_bytes=-1,
)
"""A host on which everything that is asked for succeeds."""


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Make a tree; a path that ends in a slash is a directory, one in .gz is compressed."""
    for name, text in files.items():
        path = root / name.lstrip("/")
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".gz"):
            path.write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            path.write_text(text)
    return root


def host(root: Path, files: Mapping[str, str], facts: Facts = WELL) -> HostView:
    """The view of a tree."""
    made = look(write(root, files))
    return HostView(reader=made.reader, tree=made.tree, config=made.config, facts=facts)


def _cpuinfo(vendor: str, flags: str) -> str:
    return f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: a model\nflags\t\t: {flags}\n"


def _base(release: str, build: str, cpus: str) -> Files:
    return {
        "/proc/sys/kernel/osrelease": f"{release}\n",
        "/proc/sys/kernel/version": f"{build}\n",
        "/proc/sys/kernel/sched_rt_runtime_us": "950000\n",
        "/proc/sys/kernel/sched_rt_period_us": "1000000\n",
        "/proc/sys/kernel/timer_migration": "1\n",
        "/proc/sys/kernel/numa_balancing": "0\n",
        "/proc/sys/kernel/io_uring_disabled": "0\n",
        "/proc/sys/kernel/nmi_watchdog": "1\n",
        "/proc/sys/kernel/soft_watchdog": "1\n",
        "/proc/sys/kernel/task_delayacct": "1\n",
        "/proc/sys/vm/stat_interval": "1\n",
        "/proc/sys/vm/swappiness": "60\n",
        "/proc/pressure/cpu": "some avg10=0.00\n",
        "/proc/self/cgroup": "0::/user.slice\n",
        "/proc/swaps": "Filename\tType\n",
        "/proc/irq/": "",
        "/dev/net/tun": "",
        f"{_CPU}/online": f"{cpus}\n",
        f"{_CPU}/isolated": "\n",
        f"{_CLOCK}/current_clocksource": "tsc\n",
        f"{_CLOCK}/available_clocksource": "tsc hpet acpi_pm\n",
        "/sys/kernel/rcu_normal": "0\n",
        "/sys/kernel/mm/ksm/run": "0\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always [madvise] never\n",
        "/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages": "0\n",
        "/sys/devices/virtual/workqueue/cpumask": "ff\n",
        "/sys/devices/system/node/online": "0\n",
    }


def tuned_rhel() -> Files:
    """An eight-core server with RHEL's real-time kernel and realtime-virtual-host applied."""
    release = "5.14.0-503.el9.x86_64+rt"
    return {
        **_base(release, "#1 SMP PREEMPT_RT Thu Oct 17 2024", "0-7"),
        f"/boot/config-{release}": _DISTRIBUTION + "CONFIG_PREEMPT_RT=y\n",
        "/proc/cmdline": "root=/dev/sda1 skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1 "
        "isolcpus=managed_irq,domain,2-7 intel_pstate=disable nosoftlockup nohz=on nohz_full=2-7 "
        "rcu_nocbs=2-7 irqaffinity=0,1\n",
        "/proc/cpuinfo": _cpuinfo("GenuineIntel", _INTEL),
        "/proc/sys/kernel/sched_rt_runtime_us": "-1\n",
        "/proc/sys/kernel/timer_migration": "0\n",
        "/proc/sys/kernel/nmi_watchdog": "0\n",
        "/proc/sys/kernel/soft_watchdog": "0\n",
        "/proc/sys/kernel/split_lock_mitigate": "0\n",
        "/proc/sys/vm/stat_interval": "10\n",
        "/proc/interrupts": "      CPU0 CPU1 CPU2 CPU3\n 24: 900 10 0 0 PCI-MSIX eth0\n",
        "/proc/irq/24/effective_affinity_list": "0\n",
        "/proc/1/comm": "systemd\n",
        "/proc/812/comm": "tuned\n",
        f"{_CPU}/isolated": "2-7\n",
        f"{_CPU}/nohz_full": "2-7\n",
        f"{_CPU}/smt/control": "off\n",
        f"{_CPU}/cpu2/cpuidle/state0/latency": "0\n",
        f"{_CPU}/cpu2/cpuidle/state0/name": "POLL\n",
        f"{_CPU}/cpu2/cpuidle/state3/latency": "133\n",
        f"{_CPU}/cpu2/cpuidle/state3/name": "C6\n",
        f"{_CPU}/cpu2/cpufreq/scaling_governor": "performance\n",
        f"{_CPU}/vulnerabilities/spectre_v2": "Mitigation: Enhanced IBRS\n",
        "/sys/kernel/realtime": "1\n",
        "/sys/kernel/rcu_normal": "1\n",
        "/sys/kernel/mm/ksm/run": "2\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]\n",
        "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages": "16\n",
        "/sys/kernel/tracing/events/kvm/": "",
        "/sys/kernel/debug/kvm/": "",
        "/sys/devices/virtual/workqueue/cpumask": "03\n",
        "/sys/module/kvm_intel/parameters/ept": "Y\n",
        "/sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
        "/sys/module/kvm_intel/parameters/ple_gap": "0\n",
        f"{_KVM}/nx_huge_pages": "never\n",
        f"{_KVM}/kvmclock_periodic_sync": "N\n",
        f"{_KVM}/lapic_timer_advance": "Y\n",
        f"{_KVM}/halt_poll_ns": "200000\n",
        "/dev/kvm": "",
        "/dev/vhost-net": "",
    }


TUNED_FACTS = Facts(**{**vars(WELL), "dma_latency_us": 0})
"""tuned holds /dev/cpu_dma_latency."""


def laptop() -> Files:
    """A laptop as it came: Ubuntu's kernel, power saving, everything on."""
    release = "6.5.0-41-generic"
    return {
        **_base(release, "#41~22.04.2-Ubuntu SMP PREEMPT_DYNAMIC", "0-7"),
        "/proc/version_signature": "Ubuntu 6.5.0-41.41~22.04.2-generic 6.5.13\n",
        f"/boot/config-{release}": _DISTRIBUTION
        + "CONFIG_PREEMPT_VOLUNTARY=y\nCONFIG_PREEMPT_DYNAMIC=y\n",
        "/proc/cmdline": "root=UUID=1 quiet splash\n",
        "/proc/cpuinfo": _cpuinfo("GenuineIntel", f"{_INTEL} split_lock_detect"),
        "/proc/sys/kernel/split_lock_mitigate": "1\n",
        "/proc/sys/kernel/numa_balancing": "1\n",
        "/proc/swaps": "Filename\tType\n/swapfile file 2097148 0 -2\n",
        "/proc/1/comm": "systemd\n",
        "/proc/700/comm": "irqbalance\n",
        "/proc/701/comm": "power-profiles-\n",
        "/proc/702/comm": "thermald\n",
        "/proc/self/cgroup": "0::/user.slice/app.slice\n",
        "/sys/fs/cgroup/user.slice/cpu.max": "150000 100000\n",
        "/sys/fs/cgroup/user.slice/cpu.stat": "usage_usec 1\nnr_periods 9\nnr_throttled 7\n",
        f"{_CPU}/smt/control": "on\n",
        f"{_CPU}/cpu0/cpuidle/state1/latency": "2\n",
        f"{_CPU}/cpu0/cpuidle/state1/name": "C1E\n",
        f"{_CPU}/cpu0/cpuidle/state8/latency": "890\n",
        f"{_CPU}/cpu0/cpuidle/state8/name": "C10\n",
        f"{_CPU}/cpu0/cpufreq/scaling_governor": "powersave\n",
        f"{_CPU}/intel_pstate/no_turbo": "0\n",
        f"{_CPU}/vulnerabilities/itlb_multihit": "KVM: Mitigation: VMX disabled\n",
        f"{_CLOCK}/current_clocksource": "hpet\n",
        "/sys/kernel/mm/ksm/run": "1\n",
        "/sys/kernel/mm/transparent_hugepage/enabled": "[always] madvise never\n",
        "/sys/module/kvm_intel/parameters/ept": "Y\n",
        "/sys/module/kvm_intel/parameters/enable_apicv": "Y\n",
        "/sys/module/kvm_intel/parameters/ple_gap": "128\n",
        "/sys/module/kvm_intel/parameters/preemption_timer": "Y\n",
        f"{_KVM}/nx_huge_pages": "Y\n",
        f"{_KVM}/halt_poll_ns": "200000\n",
        "/dev/kvm": "",
    }


LAPTOP_FACTS = Facts(
    fifo_refused="Operation not permitted",
    kvm_api="/dev/kvm: Permission denied",
    qemu="6.2.0 (Debian 1:6.2+dfsg-2ubuntu6.19)",
    memlock_bytes=67_108_864,
)
"""An ordinary user, not in the group kvm."""


def nested_cloud() -> Files:
    """A cloud instance with nested virtualization, in a container; control groups 1."""
    return {
        **_base("5.10.220-209.869.amzn2.x86_64", "#1 SMP Wed Jul 17 2024", "0-1"),
        "/proc/config.gz": "CONFIG_HIGH_RES_TIMERS=y\nCONFIG_PREEMPT_NONE=y\n"
        "CONFIG_RT_GROUP_SCHED=y\nCONFIG_RCU_NOCB_CPU=y\n# CONFIG_NO_HZ_FULL is not set\n",
        "/proc/cmdline": "root=/dev/nvme0n1p1 console=ttyS0 nvme_core.io_timeout=4294967295\n",
        "/proc/cpuinfo": _cpuinfo("GenuineIntel", f"{_INTEL} hypervisor"),
        "/proc/self/cgroup": "4:cpu,cpuacct:/docker/ab12\n0::/\n",
        "/sys/fs/cgroup/cpu,cpuacct/docker/ab12/cpu.cfs_quota_us": "50000\n",
        "/sys/class/dmi/id/product_name": "m5.2xlarge\n",
        f"{_CLOCK}/current_clocksource": "kvm-clock\n",
        "/sys/module/kvm_intel/parameters/ept": "Y\n",
        f"{_KVM}/lapic_timer_advance": "Y\n",
        "/sys/kernel/debug/kvm/100-9/vcpu0/lapic_timer_advance_ns": "480000000\n",
        "/dev/kvm": "",
    }


NESTED_FACTS = Facts(
    **{
        **vars(WELL),
        "fifo_refused": "Operation not permitted",
        "kvm_trial": "with KVM the guest kernel did not reach its init: no answer",
    }
)
"""Root in a group without a real-time budget; KVM opens, but no guest starts."""


def arm_board() -> Files:
    """A board with four cores of an ARM processor: other places, many of them absent."""
    return {
        **_base("6.12.25-rt8-v8", "#1 SMP PREEMPT_RT", "0-3"),
        "/proc/config.gz": "CONFIG_HIGH_RES_TIMERS=y\nCONFIG_PREEMPT_RT=y\n"
        "CONFIG_CPU_ISOLATION=y\nCONFIG_NO_HZ_FULL=y\nCONFIG_RCU_NOCB_CPU=y\n",
        "/proc/cmdline": "console=ttyAMA0 isolcpus=3 nohz_full=3\n",
        "/proc/cpuinfo": "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\n",
        "/proc/interrupts": "      CPU0 CPU1 CPU2 CPU3\n 31: 5 0 0 77 GICv2 mmc0\n",
        "/proc/irq/31/smp_affinity_list": "0-3\n",
        f"{_CPU}/isolated": "3\n",
        f"{_CPU}/nohz_full": "3\n",
        f"{_CPU}/cpu0/cpufreq/scaling_governor": "ondemand\n",
        f"{_CLOCK}/current_clocksource": "arch_sys_counter\n",
        "/sys/kernel/realtime": "1\n",
        "/dev/kvm": "",
        "/dev/vhost-net": "",
    }


@dataclass(frozen=True, kw_only=True)
class FakeThread:
    """A thread as /proc shows it; the policy is the kernel's number."""

    tid: int
    name: str
    cpus: str = "0-7"
    policy: int = 0
    priority: int = 0
    minor_faults: int = 0
    parent: int = 1

    def files(self, place: str) -> Files:
        """Its stat and status."""
        fields = ["0"] * 50
        fields[0] = "S"
        fields[1] = str(self.parent)
        fields[7] = str(self.minor_faults)
        fields[37] = str(self.priority)
        fields[38] = str(self.policy)
        return {
            f"{place}/stat": f"{self.tid} ({self.name}) {' '.join(fields)}\n",
            f"{place}/status": f"Name:\t{self.name}\nCpus_allowed_list:\t{self.cpus}\n",
        }


def qemu(
    pid: int,
    arguments: Iterable[str],
    threads: Iterable[FakeThread],
    *,
    kernel: Iterable[FakeThread] = (),
    status: str = "VmSwap:\t0 kB\nVmLck:\t0 kB\n",
    cgroup: str = "0::/machine.slice\n",
) -> Files:
    """A QEMU with its threads, and threads of the kernel that work for it."""
    words = ["/usr/bin/qemu-system-x86_64", *arguments]
    files = {
        f"/proc/{pid}/cmdline": "\0".join(words) + "\0",
        f"/proc/{pid}/comm": "qemu-system-x86\n",
        f"/proc/{pid}/cgroup": cgroup,
        f"/proc/{pid}/status": status,
    }
    for thread in threads:
        files |= thread.files(f"/proc/{pid}/task/{thread.tid}")
    for thread in kernel:
        files |= thread.files(f"/proc/{thread.tid}")
        files[f"/proc/{thread.tid}/comm"] = f"{thread.name[:15]}\n"
        files |= thread.files(f"/proc/{thread.tid}/task/{thread.tid}")
    return files
