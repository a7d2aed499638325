/* SPDX-License-Identifier: Apache-2.0 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "boot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <termios.h>
#include <unistd.h>

#define MODULE_LIST "/etc/modules"
#define PCI_DEVICES "/sys/bus/pci/devices"
/* ivshmem: QEMU, docs/specs/ivshmem-spec.rst, "PCI Vendor ID/Device ID". */
#define VENDOR "0x1af4"
#define DEVICE "0x1110"

static void mount_one(const char *type, const char *where, unsigned long flags)
{
	mkdir(where, 0755);
	/* EBUSY: the kernel has mounted devtmpfs itself (CONFIG_DEVTMPFS_MOUNT). */
	if (mount(type, where, type, flags, NULL) != 0 && errno != EBUSY)
		printf("vmjitter: mount %s on %s: %s\n", type, where, strerror(errno));
}

/* For kernels without devtmpfs: what the agent and ordinary programs need. */
static void make_nodes(void)
{
	static const struct { const char *path; unsigned int major, minor; } nodes[] = {
		{ "/dev/console", 5, 1 }, { "/dev/null", 1, 3 },     { "/dev/zero", 1, 5 },
		{ "/dev/urandom", 1, 9 }, { "/dev/ttyS0", 4, 64 },   { "/dev/ttyS1", 4, 65 },
	}; /* numbers: kernel, Documentation/admin-guide/devices.txt */

	for (size_t i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++)
		if (access(nodes[i].path, F_OK) != 0)
			mknod(nodes[i].path, S_IFCHR | 0600, makedev(nodes[i].major, nodes[i].minor));
}

static void take_console(void)
{
	int fd = open("/dev/console", O_RDWR | O_NOCTTY);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
	dup2(fd, STDERR_FILENO);
	if (fd > STDERR_FILENO)
		close(fd);
}

/* Whole file in memory; NULL with errno. */
static void *read_file(const char *path, size_t *bytes)
{
	struct stat st;
	char *content = NULL;
	size_t done = 0;
	ssize_t got = 1;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return NULL;
	if (fstat(fd, &st) == 0)
		content = malloc((size_t)st.st_size + 1);
	while (content && got > 0 && done < (size_t)st.st_size) {
		got = read(fd, content + done, (size_t)st.st_size - done);
		done += got > 0 ? (size_t)got : 0;
	}
	close(fd);
	*bytes = done;
	return content;
}

/* init_module rather than finit_module, which came with Linux 3.8 (init_module(2)). */
static bool init_module_with(const void *image, size_t bytes, const char *parameters)
{
	return syscall(SYS_init_module, image, bytes, parameters) == 0 || errno == EEXIST;
}

/* With async_probe a driver looks for its devices beside us, so that one device's delays are
 * spent on another's work (Linux commit f2411da74698, "driver-core: add driver module
 * asynchronous probe support").  Kernels before that refuse the unknown parameter. */
static void load_module(const char *path, bool is_last)
{
	size_t bytes = 0;
	void *image = read_file(path, &bytes);

	if (!image || ((is_last || !init_module_with(image, bytes, "async_probe")) &&
		       !init_module_with(image, bytes, "")))
		printf("vmjitter: module %s: %s\n", path, strerror(errno));
	free(image);
}

static bool next_module(FILE *list, char *path, int size)
{
	while (fgets(path, size, list)) {
		path[strcspn(path, "\n")] = '\0';
		if (path[0] != '\0' && path[0] != '#')
			return true;
	}
	return false;
}

/* The last one is loaded without async_probe: the kernel then waits until all asynchronous
 * work is done (do_init_module in kernel/module), so every device is there when we are ready. */
static void load_modules(void)
{
	char path[PATH_MAX], next[PATH_MAX] = "";
	FILE *list = fopen(MODULE_LIST, "r");

	if (!list)
		return; /* none needed */
	for (bool more = next_module(list, path, PATH_MAX); more; memcpy(path, next, PATH_MAX)) {
		more = next_module(list, next, PATH_MAX);
		load_module(path, !more);
	}
	fclose(list);
}

void boot_system(void)
{
	mount_one("devtmpfs", "/dev", 0);
	make_nodes();
	take_console();
	setvbuf(stdout, NULL, _IOLBF, 0);
	mount_one("proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_one("sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC);
	mount_one("tmpfs", "/tmp", MS_NOSUID | MS_NODEV);
	mount_one("tmpfs", "/run", MS_NOSUID | MS_NODEV);
	load_modules();
	take_console(); /* a console that needs a driver is there only now */
}

/* Whether the attribute of a PCI device reads as `wanted`. */
static bool attribute_is(const char *device, const char *name, const char *wanted)
{
	char path[PATH_MAX], value[32] = "";
	int fd;
	ssize_t got;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/%s", device, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	got = read(fd, value, sizeof(value) - 1);
	close(fd);
	return got > 0 && strncmp(value, wanted, strlen(wanted)) == 0;
}

/* Name of the first ivshmem device, such as 0000:00:04.0. */
static bool find_device(char *name, size_t size)
{
	DIR *devices = opendir(PCI_DEVICES);
	struct dirent *entry;
	bool found = false;

	while (devices && !found && (entry = readdir(devices))) {
		found = attribute_is(entry->d_name, "vendor", VENDOR) &&
			attribute_is(entry->d_name, "device", DEVICE);
		if (found)
			snprintf(name, size, "%s", entry->d_name);
	}
	if (devices)
		closedir(devices);
	return found;
}

/* Memory accesses to a BAR are answered only once the device is enabled (PCI command
 * register, memory space); no driver does that here. */
static int enable(const char *device)
{
	char path[PATH_MAX];
	int fd, done;

	snprintf(path, sizeof(path), PCI_DEVICES "/%s/enable", device);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	done = write(fd, "1", 1) == 1 ? 0 : -1;
	close(fd);
	return done;
}

int boot_find_memory(char *why, size_t size)
{
	char device[NAME_MAX + 1], target[PATH_MAX];

	if (!find_device(device, sizeof(device))) {
		snprintf(why, size, "no shared memory: no PCI device 1af4:1110; start QEMU with "
			 "-device ivshmem-plain");
		return -1;
	}
	if (enable(device) != 0) {
		snprintf(why, size, "PCI device %s cannot be enabled: %s", device, strerror(errno));
		return -1;
	}
	snprintf(target, sizeof(target), PCI_DEVICES "/%s/resource2", device);
	unlink(AGENT_SHM_LINK);
	if (symlink(target, AGENT_SHM_LINK) != 0) {
		snprintf(why, size, "%s: %s", AGENT_SHM_LINK, strerror(errno));
		return -1;
	}
	return 0;
}

int boot_open_bell(const char *path)
{
	struct termios raw;
	/* O_RDWR: a FIFO would keep a writer waiting for its reader (fifo(7)). */
	int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (fd < 0)
		return -1;
	if (tcgetattr(fd, &raw) == 0) {
		cfmakeraw(&raw);
		raw.c_cflag |= CLOCAL; /* nobody raises carrier detect */
		tcsetattr(fd, TCSANOW, &raw);
	} else if (errno == EIO) { /* a port that the kernel knows but the machine lacks */
		close(fd);
		fd = -1;
	}
	return fd;
}

void boot_power_off(void)
{
	sync();
	fflush(stdout);
	tcdrain(STDOUT_FILENO);
	reboot(RB_POWER_OFF);
	/* Without power management the kernel halts instead, and does not come back; should it
	 * come back, process 1 must not end, since that is a panic. */
	for (;;)
		pause();
}
