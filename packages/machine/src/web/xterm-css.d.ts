/** The terminal's style sheet, which the build makes a string of. */
declare module "@xterm/xterm/css/xterm.css" {
  const text: string;
  export default text;
}
