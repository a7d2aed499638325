#!/bin/sh
# Process 1 of the simulated host at first: loads what the system disk needs, and goes over to it.
mount -t devtmpfs dev /dev
echo "vmjitter: kernel is up" # each line on the console is a sign of life
mount -t proc proc /proc
read -r command_line </proc/cmdline
while read -r module; do
	# Bochs lets DMA bring 16 bytes per microsecond, but asks no time of its own without it; so what
	# is read goes without, and the results go the way that costs no CPU
	case "$module $command_line" in libata.ko*vmjitter.pio*) options=force=1:pio4,2.00:pio4 ;; *) options= ;; esac
	insmod "/modules/$module" $options || echo "vmjitter: no $module"
done </modules/order
umount /proc
tries=0
# the system disk, the job and the result, found in whatever order
while [ ! -b /dev/sda ] || [ ! -b /dev/sdb ] || [ ! -b /dev/sdc ]; do
	sleep 0.01
	tries=$((tries + 1))
	[ $tries -lt 3000 ] || { echo "vmjitter: the disks did not appear"; poweroff -f; }
done
for disk in /dev/sd?; do
	mount -t squashfs -o ro,noatime $disk /root 2>/dev/null && exec switch_root /root /sbin/init
done
echo "vmjitter: the system disk cannot be found"
poweroff -f
