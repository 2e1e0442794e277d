export const disassemble = (..._: unknown[]): string => "";
