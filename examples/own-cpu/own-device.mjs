// A machine with a device of one's own on the board, saved to a file in the middle of its work by one process and finished
// by another; `pack-check.mjs` runs it on the packages as their users get them.
//   node own-device.mjs save FILE      runs half of it, saves it, and finishes a clone
//   node own-device.mjs restore FILE   finishes it
import { assemble } from "@hyperfile/decoder";
import { mmioPart, virtIrq, virtMap } from "@hyperfile/devices";
import { riscvVirt } from "@hyperfile/machine";
import { restoreSnapshotFile, saveSnapshotFile } from "@hyperfile/machine/node";

/** What the guest adds, one at a time; it powers off with the sum as its status. */
const COUNT = 2000;
/** At which the machine is saved: more than half of the additions are done. */
const INSTRUCTIONS = 4000;

const adder = mmioPart({
  name: "adder",
  base: virtMap.platform.base,
  size: 0x1000,
  interrupt: virtIrq.firstPlatform,
  compatible: "acme,adder",
  make: ({ interrupts }) => {
    let sum = 0;
    const counters = { additions: 0 };
    const show = (value) => {
      sum = value;
      interrupts[0].set(sum > COUNT / 4);
    };
    return {
      counters,
      read: () => sum,
      write(_offset, _size, value) {
        counters.additions++;
        show(sum + value);
      },
      reset: () => show(0),
      save: () => ({ sum }),
      restore: (state) => show(state.sum),
    };
  },
});

/** Of the interrupt controller: whether the adder's line is up (the second word of pending bits, of interrupt 64). */
const PENDING = 0x0c001000 + 4 * (virtIrq.firstPlatform >> 5);
const { bytes: code } = assemble(
  `
        li   t0, 0x4000000
        li   t1, 1
        li   t2, ${COUNT}
again:  sw   t1, 0(t0)
        addi t2, t2, -1
        bnez t2, again
        li   t3, ${PENDING}
        lw   t3, 0(t3)
        andi t3, t3, 1
        lw   a0, 0(t0)
        add  a0, a0, t3         # one more if its interrupt is up
        slli a0, a0, 16
        li   t1, 0x3333
        or   a0, a0, t1
        li   t0, 0x100000
        sw   a0, 0(t0)
        j    .`,
  { xlen: 64, origin: 0x80000000 },
);
const options = { ramBytes: 1 << 20, boot: { code }, parts: [adder], clock: "virtual" };
const additions = (machine) => machine.board.counters().adder.additions;
const report = (what, end, machine) =>
  console.log(what, end.kind, end.status ?? end.reason, additions(machine));

const [command, file] = process.argv.slice(2);
if (command === "save") {
  const machine = riscvVirt({ ...options, instructions: INSTRUCTIONS });
  report("original", await machine.run(), machine);
  await saveSnapshotFile(file, machine.state);
  const twin = machine.clone({ instructions: Infinity });
  report("clone", await twin.run(), twin);
} else {
  const machine = riscvVirt(options);
  await restoreSnapshotFile(file, machine.state);
  report("restored", await machine.run(), machine);
}
