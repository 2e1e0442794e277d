/*
 * The console: a 16550 that the device tree names, with input by interrupt; before it is found, and on machines
 * without one, the firmware's console with polled input.
 *
 * Input waits in a ring. When the ring is full the receive interrupt is turned off and bytes stay in the device, so
 * that a host which pipes commands in is held back and loses nothing. Ctrl-C never enters the ring while there is a
 * foreground process: it kills that one.
 */
#include "kernel.h"

/* Registers of the 16550 (National Semiconductor PC16550D, table II). */
enum { UART_DATA = 0, UART_IER = 1, UART_IIR = 2, UART_FCR = 2, UART_LCR = 3, UART_MCR = 4, UART_LSR = 5 };
#define IER_RECEIVE 0x01
#define IIR_FIFO 0xc0
#define FCR_ENABLE 0x01
#define LCR_8N1 0x03
#define MCR_READY 0x0b
#define LSR_RECEIVED 0x01
#define LSR_EMPTY 0x20
#define CTRL_C 3

static bool uart_ready;
static bool receiving;
static char ring[1024];
static unsigned ring_head, ring_tail; /* free-running; their difference is the number of bytes */

static volatile uint8_t *uart(unsigned number) {
  return (volatile uint8_t *)(machine.uart.start + number);
}

static void set_receiving(bool on) {
  receiving = on;
  *uart(UART_IER) = on ? IER_RECEIVE : 0;
}

/*
 * Turning the FIFO on or off clears it. Where input is piped in its first byte already waits, and further ones follow
 * as soon as it is read: then the FIFO stays as it is, for working without one loses nothing.
 */
static void enable_fifo(void) {
  bool is_on = (*uart(UART_IIR) & IIR_FIFO) == IIR_FIFO;
  if (!is_on && (*uart(UART_LSR) & LSR_RECEIVED) == 0) *uart(UART_FCR) = FCR_ENABLE;
}

void console_init(void) {
  if (machine.uart.start == 0) return;
  *uart(UART_IER) = 0;
  *uart(UART_LCR) = LCR_8N1;
  *uart(UART_MCR) = MCR_READY;
  enable_fifo();
  uart_ready = true;
  if (console_is_polled()) return;
  plic_enable(machine.uart_interrupt);
  set_receiving(true);
}

const char *console_name(void) {
  return uart_ready ? "ns16550a" : "sbi";
}

bool console_is_polled(void) {
  return !uart_ready || machine.plic.start == 0 || machine.uart_interrupt == 0;
}

static void put_raw(char c) {
  if (!uart_ready) {
    sbi_put(c);
    return;
  }
  while ((*uart(UART_LSR) & LSR_EMPTY) == 0) {
  }
  *uart(UART_DATA) = (uint8_t)c;
}

void console_put(char c) {
  if (c == '\n') put_raw('\r');
  put_raw(c);
}

static int get_raw(void) {
  if (!uart_ready) return sbi_get();
  return (*uart(UART_LSR) & LSR_RECEIVED) != 0 ? *uart(UART_DATA) : -1;
}

void console_receive(void) {
  while (ring_head - ring_tail < sizeof ring) {
    int c = get_raw();
    if (c < 0) break;
    if (c == CTRL_C) process_interrupt();
    else ring[ring_head++ % sizeof ring] = (char)c;
  }
  if (receiving && ring_head - ring_tail == sizeof ring) set_receiving(false);
  if (ring_head != ring_tail) process_wake(PROCESS_READING);
}

/* Ctrl-C without a foreground process is a byte like any other: the shell's line editor reads it. */
void console_insert(char c) {
  if (ring_head - ring_tail < sizeof ring) ring[ring_head++ % sizeof ring] = c;
}

/* After bytes were taken out of the ring. */
static void resume_receiving(void) {
  if (uart_ready && !receiving && !console_is_polled()) set_receiving(true);
}

bool console_take_interrupt(void) {
  for (unsigned at = ring_tail; at != ring_head; at++) {
    if (ring[at % sizeof ring] != CTRL_C) continue;
    ring_tail = at + 1;
    resume_receiving();
    return true;
  }
  return false;
}

size_t console_read(char *to, size_t bytes) {
  size_t count = 0;
  while (count < bytes && ring_tail != ring_head) to[count++] = ring[ring_tail++ % sizeof ring];
  if (count > 0) resume_receiving();
  return count;
}
