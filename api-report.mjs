// Writes what each package exports, entry by entry, to the package's api.md: what users can rely on changes only on
// purpose, and a reader of a change sees it. With --check it compares instead. The entries are the paths of
// tsconfig.json, and what stands in a report is what the compiler says of the source.
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";

const root = dirname(fileURLToPath(import.meta.url));
const { config } = ts.readConfigFile(join(root, "tsconfig.json"), ts.sys.readFile);
const { options } = ts.parseJsonConfigFileContent({ ...config, include: [] }, ts.sys, root);
const entries = Object.entries(config.compilerOptions.paths).map(([name, [path]]) => ({
  name,
  path: join(root, path),
  report: join(root, path.replace(/\/src\/.*$/, "/api.md")),
}));

const program = ts.createProgram({
  rootNames: entries.map(({ path }) => path),
  options: { ...options, noEmit: false, declaration: true, emitDeclarationOnly: true, removeComments: true },
});
const checker = program.getTypeChecker();
const printer = ts.createPrinter({ removeComments: true });
/** Statements of the declarations that were emitted for a source file, by the names that they declare. */
const declared = new Map();

/** What a file declares, as its users see it. */
function declarationsOf(file) {
  let byName = declared.get(file.fileName);
  if (byName !== undefined) return byName;
  byName = new Map();
  declared.set(file.fileName, byName);
  program.emit(
    file,
    (_, text) => {
      const emitted = ts.createSourceFile("emitted.d.ts", text, ts.ScriptTarget.Latest, true);
      for (const statement of emitted.statements) {
        const names =
          statement.kind === ts.SyntaxKind.VariableStatement
            ? statement.declarationList.declarations.flatMap(({ name }) => namesIn(name))
            : [statement.name?.text];
        const shown = printer
          .printNode(ts.EmitHint.Unspecified, statement, emitted)
          .replace(/^export /, "")
          .replace(/^declare /, "")
          .split("\n")
          .filter((line) => !/^\s+(private|#)/.test(line))
          .join("\n");
        for (const name of names) byName.set(name, [...(byName.get(name) ?? []), shown]);
      }
    },
    undefined,
    true,
  );
  return byName;
}

const namesIn = (name) =>
  ts.isIdentifier(name) ? [name.text] : name.elements.flatMap((element) => namesIn(element.name));

/** One export, as its users see it. */
function describe(symbol) {
  const target = symbol.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(symbol) : symbol;
  const shown = [];
  for (const file of new Set(target.declarations.map((node) => node.getSourceFile())))
    shown.push(...(declarationsOf(file).get(target.name) ?? [`${target.name} of ${file.fileName}`]));
  if (symbol.name !== target.name) shown.unshift(`export { ${target.name} as ${symbol.name} };`);
  return [...new Set(shown)].join("\n");
}

const reports = new Map();
for (const { name, path, report } of entries) {
  const module = checker.getSymbolAtLocation(program.getSourceFile(path));
  const exported = checker
    .getExportsOfModule(module)
    .sort((one, other) => (one.name < other.name ? -1 : one.name > other.name ? 1 : 0));
  const lines = [
    `## ${name}`,
    "",
    `${exported.length} names.`,
    "",
    "```ts",
    ...exported.map(describe),
    "```",
    "",
  ];
  reports.set(report, [...(reports.get(report) ?? ["# What this package exports", ""]), ...lines]);
}

const changed = [];
for (const [path, lines] of reports) {
  const text = lines.join("\n");
  let before = "";
  try {
    before = readFileSync(path, "utf8");
  } catch {
    // The package is new.
  }
  if (before === text) continue;
  changed.push(path.slice(root.length + 1));
  if (!process.argv.includes("--check")) writeFileSync(path, text);
}
if (changed.length > 0 && process.argv.includes("--check")) {
  console.error(`${changed.join(", ")} no longer says what is exported: if that is meant, run npm run api`);
  process.exit(1);
}
console.log(changed.length === 0 ? "the API reports are current" : `wrote ${changed.join(", ")}`);
