/**
 * The guest's first process: a script for busybox's shell. It reports that it was reached before it does
 * anything else, since benchmarks measure up to that line, and starts few processes, since each costs
 * a fork in a guest that may be interpreted.
 *
 * The kernel command line may carry
 * - `hyperfile.input=pipe`: the console is fed from a pipe, so there is no prompt, echo or line editing, and
 *   a shell reads commands until the end of the input (Ctrl-D). Line editing would lose an end of input that
 *   arrives while a command runs: the line discipline hands it on as a zero byte when the mode changes.
 * - `root=DEVICE`: a whole system on a disk, which takes over, as for the initial file systems of distributions. `DEVICE`
 *   may be `UUID=...` or `LABEL=...`; it is mounted read-only unless there is `rw`, and as ext4 unless there is
 *   `rootfstype=TYPE`, by which the kernel finds the module.
 * - `hyperfile.size=COLUMNSxROWS`: the size of the terminal, which a serial line can't convey.
 *
 * Folders that the host shares (virtio 1.2, 5.11) are mounted at `/mnt/TAG`, where a system on a disk does not take over.
 *
 * Where there is a device for sockets the guest agent serves the host; a system on a disk has its own.
 *
 * The first network card gets its address by DHCP, where a network answers within three seconds (RFC 2131).
 *
 * A virtio console does convey it (virtio 1.2, 5.3.4: `cols` and `rows`), so where there is one, a process whose
 * controlling terminal it is hands each change on to the serial line, whose programs then get their SIGWINCH.
 */

/** The start of the line that the script prints first; the guest's uptime in seconds follows. */
export const initReachedText = "hyperfile: init reached, uptime ";

/** The line after which piped input is neither lost nor echoed. */
export const readyForInputText = "hyperfile: ready for commands";

/** The start of the line that says that the system on a disk can't be had. */
export const noRootText = "hyperfile: can't mount the root";

/** The guest agent's program, in a folder for programs of the system. */
export const agentName = "hyperfile-agent";

/** Where the text of {@link leaseScript} is. */
export const leaseScriptPath = "etc/network-lease";

/** What busybox's DHCP client runs with what it got in its environment, and when that ends. */
export const leaseScript = `#!/bin/busybox sh
case $1 in
  deconfig)
    ip -4 addr flush dev $interface
    ip link set $interface up
    ;;
  bound | renew)
    ip addr replace $ip/$mask dev $interface
    for gateway in $router; do ip route replace default via $gateway dev $interface; break; done
    {
      [ -z "$domain" ] || echo "search $domain"
      for server in $dns; do echo "nameserver $server"; done
    } > /etc/resolv.conf
    ;;
esac
`;

/** The text of `/init`. */
export const initScript = `#!/bin/busybox sh
/bin/busybox mount -t proc proc /proc
read -r uptime idle < /proc/uptime
echo "${initReachedText}$uptime"

export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=linux ENV=/etc/profile
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
hostname -F /etc/hostname

modprobe -q virtio_mmio
aliases=
for file in /sys/bus/virtio/devices/*/modalias; do
  [ -e "$file" ] && read -r alias < "$file" && aliases="$aliases $alias"
done
for alias in $aliases; do modprobe -q "$alias"; done
ip link set lo up 2> /dev/null

input=terminal
root=
mode=ro
type=ext4
read -r line < /proc/cmdline
for word in $line; do
  case $word in
    root=*) root=\${word#*=} ;;
    rootfstype=*) type=\${word#*=} ;;
    rw) mode=rw ;;
    hyperfile.input=*) input=\${word#*=} ;;
    hyperfile.size=*x*) size=\${word#*=}; stty cols "\${size%x*}" rows "\${size#*x}" ;;
  esac
done

if [ -n "$root" ]; then
  mkdir /system
  if mount -t "$type" -o "$mode" "$root" /system; then
    umount /dev/pts
    mount --move /dev /system/dev
    umount /sys
    umount /proc
    exec switch_root /system /sbin/init
  fi
  echo "${noRootText} $root: give the root= of a disk that has a system"
fi

if [ -c /dev/vsock ]; then
  ${agentName} < /dev/null > /dev/null 2>&1 &
fi

if [ -e /sys/class/net/eth0 ]; then
  ip link set eth0 up
  udhcpc -n -t 3 -T 1 -i eth0 -s /${leaseScriptPath} > /dev/null 2>&1
fi

for file in /sys/fs/virtiofs/*/tag; do
  [ -e "$file" ] && read -r tag < "$file" || continue
  case $tag in .*|*/*) continue ;; esac
  mkdir -p "/mnt/$tag"
  mount -t virtiofs "$tag" "/mnt/$tag"
done

cd /root
if [ "$input" = pipe ]; then
  stty -echo -opost
  echo "${readyForInputText}"
  cat | sh
else
  read -r _ _ release _ < /proc/version
  echo
  echo "Debian's Linux $release in Hyperfile: $(nproc) hart, $(awk '/^MemTotal/ { print int($2 / 1024) }' /proc/meminfo) MiB of memory"
  echo "  exit, poweroff -f   turn the machine off"
  echo "  Ctrl-A x            quit at once; Ctrl-A h lists the other keys"
  echo "  busybox --list      the commands there are"
  echo
  if [ -c /dev/hvc0 ]; then
    setsid -c sh -c '
      resize() { set -- $(stty size); stty rows "$1" cols "$2" < /dev/ttyS0; }
      trap resize WINCH
      while :; do sleep 1000000 & wait $!; kill $!; done
    ' < /dev/hvc0 > /dev/hvc0 2>&1 &
  fi
  setsid cttyhack sh -l
fi
poweroff -f
`;

/** The text of `/etc/profile`, which the interactive shell reads. */
export const profile = `export PS1='\\u@\\h:\\w\\$ '
alias ll='ls -l'
`;
