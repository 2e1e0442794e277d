/**
 * The first process of the benchmark's guest: does the work that the kernel command line names, one after the other,
 * each in an empty folder, and prints lines for the runner around the measured part. The guest's own clock stands in
 * them; reading it starts no process.
 */
import type { Workload } from "./workloads.js";

/** What the runner's lines begin with. */
export const MARK = "hyperfile-bench:";

/** The kernel's parameter that names the work, separated by commas. */
export const PARAMETER = "hyperfile.bench";

/** Lines of a result that the guest prints at most. */
export const RESULT_LINES = 20;

/** The text of `/init`. */
export const initScript = `#!/usr/bin/busybox sh
/usr/bin/busybox mount -t proc proc /proc
/usr/bin/busybox mount -t sysfs sysfs /sys
/usr/bin/busybox mount -t devtmpfs devtmpfs /dev
/usr/bin/busybox --install -s /opt/busybox
export PATH=/usr/bin:/usr/sbin:/opt/busybox HOME=/root LC_ALL=C.UTF-8
mount -t tmpfs tmpfs /tmp
mark() {
  read -r uptime idle < /proc/uptime
  echo "${MARK} $1 $2 $uptime $3"
}
names=
read -r line < /proc/cmdline
for word in $line; do
  case $word in ${PARAMETER}=*) names=\${word#*=} ;; esac
done
for name in $(echo "$names" | tr , ' '); do
  mkdir "/tmp/$name"
  cd "/tmp/$name"
  mark begin "$name"
  sh "/bench/$name.work" > output 2> errors < /dev/null
  status=$?
  mark end "$name" $status
  { sh "/bench/$name.result"; head -n 3 errors; } 2>&1 | head -n ${RESULT_LINES} | sed "s/^/${MARK} result $name /"
  cd /
  rm -rf "/tmp/$name"
done
mark done all
poweroff -f
`;

/** The scripts of one program's work, by their path. */
export const workloadScripts = ({ name, work, result }: Workload): readonly (readonly [string, string])[] => [
  [`bench/${name}.work`, `${work}\n`],
  [`bench/${name}.result`, `${result ?? "cat output"}\n`],
];
