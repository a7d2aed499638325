#!/bin/sh
# Process 1 of the simulated host: prepares the system, then does the job.
# Python would ask for random numbers before there are any
export PYTHONHASHSEED=0 VMJITTER_STATE_DIR=/run/vmjitter
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=vt100
mount -t devtmpfs dev /dev
echo "vmjitter: system disk found"
mount -t proc proc /proc
mount -t sysfs sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for place in /tmp /run /work /root /job /dev/shm; do mount -t tmpfs tmpfs $place; done

# KVM is in two modules, one per maker of processors
flags=$(grep -m1 -o -w -E 'vmx|svm' /proc/cpuinfo)
while read -r module; do
	case "$flags $module" in svm*kvm-intel* | vmx*kvm-amd* | " "*kvm-intel* | " "*kvm-amd*) continue ;; esac
	case $module in null_blk.ko) options=nr_devices=0 ;; *) options= ;; esac
	insmod "/modules/$module" $options || echo "vmjitter: no $module"
done </modules/order
mount -t configfs config /sys/kernel/config
mount -t debugfs debug /sys/kernel/debug
mount -t tracefs trace /sys/kernel/tracing
ip link set lo up
hostname simulated-host

echo "vmjitter: modules loaded"
read -r command_line </proc/cmdline
seed=${command_line##*vmjitter.seed=}
python3 -S -m vmjitter.sim.entropy "${seed%% *}"
python3 -S -m vmjitter.bench.inside /dev/sd?
sync
poweroff -f
