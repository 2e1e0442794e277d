/**
 * Checks emitted JavaScript before it becomes code. acorn parses the text, and one walk holds it against an
 * allow-list: what is not named here is refused, so a defect of the emitter, or a name that a front end smuggled
 * into it, can't reach anything but the bindings.
 *
 * What passes is one function expression for which the following holds.
 *
 * - Its only free names are allowed ones. Of these, views are only indexed and functions only called; neither is
 *   ever a value. No local hides an allowed name or another local.
 * - There are no closures, no `this`, no `new`, no strings, no property access but the indexing of a view.
 * - Every value of a local, argument, index and store is an integer by construction; `null` is only returned. The
 *   exceptions are numbers: locals whose names begin with `$`, elements of the views `D` and `F`, and what the functions in
 *   `doubles.ts` take and give as such.
 * - The dispatcher's `jump` is only returned: `return jump()`.
 * - A loop of a translation begins with its charge: it leaves where the budget, a word or a local, is too small, and
 *   lowers it; whatever else is stored there lowers it too, or leaves it as it is. The interpreter is told apart by
 *   its name.
 *
 * What an index may reach is not checked here: a typed array confines it to the linear memory.
 */
import {
  type AnyNode,
  type AssignmentExpression,
  type BlockStatement,
  type CallExpression,
  type Expression,
  type ForStatement,
  type FunctionExpression,
  getLineInfo,
  type IfStatement,
  type MemberExpression,
  type Node,
  parseExpressionAt,
  type ReturnStatement,
  type Statement,
  type Super,
  type SwitchStatement,
  type VariableDeclaration,
} from "acorn";
import { viewNames } from "./bindings.js";
import { doubleSignatures } from "./doubles.js";

/** Emitted JavaScript that breaks a rule of `verify.ts`: a defect of the emitter or of a front end's names. */
export class EmissionError extends Error {
  override readonly name = "EmissionError";
  /** Stable code of this error. */
  readonly code = "E_EMISSION";

  /**
   * @param what the emission: which translation, or the interpreter
   * @param line line in the emitted text, from 1
   * @param column column in the line, from 1
   * @param reason the rule that is broken
   */
  constructor(
    readonly what: string,
    readonly line: number,
    readonly column: number,
    readonly reason: string,
  ) {
    super(`${what}: ${line}:${column}: ${reason}; the emitter is at fault, please report the emitted text`);
  }
}

/** What an expression is known to give. */
enum Kind {
  integer,
  /** A double that may have a fraction: must go through a bitwise operator. */
  number,
  boolean,
}

/** A broken rule, on its way out of the walk. */
class Refusal extends Error {
  constructor(
    readonly at: number,
    readonly reason: string,
  ) {
    super(reason);
  }
}

function refuse(node: { readonly start: number }, reason: string): never {
  throw new Refusal(node.start, reason);
}

const INTERPRETER = "interpret";
/** Names of the functions with the interpreter's cold handlers. */
const COLD_HANDLERS = /^cold\d+$/;
/** Labels: the interpreter's loop; of a region its ends, loops and merge points. */
const LABELS = /^(enter|leave|bail|[LM]\d+)$/;
/** Views whose elements are doubles. */
const numberViews: ReadonlySet<string> = new Set(["D", "F"]);
const DISPATCHER = "jump";
const views: ReadonlySet<string> = new Set(viewNames);
const unusableNames: ReadonlySet<string> = new Set(["eval", "arguments", "undefined", "NaN", "Infinity"]);

const bitwise: ReadonlySet<string> = new Set(["|", "&", "^", "<<", ">>", ">>>"]);
const comparisons: ReadonlySet<string> = new Set(["<", "<=", ">", ">=", "===", "!=="]);
const indexOperators: ReadonlySet<string> = new Set(["|", "&", "<<", ">>", ">>>", "+"]);

/** Checks emissions against one set of bindings. */
export class EmissionVerifier {
  /**
   * @param allowedNames the names that are bound when the text is evaluated; those in `viewNames` are views, the
   *   others functions
   */
  constructor(private readonly allowedNames: ReadonlySet<string>) {}

  /**
   * Checks the text of one emission: an expression.
   * @param text what the emitter printed
   * @param what names the emission in an error
   * @throws EmissionError if the text does not parse or breaks a rule
   */
  verify(text: string, what: string): void {
    try {
      new Walk(this.allowedNames).root(text);
    } catch (error) {
      const [at, reason] = placeOf(error);
      const { line, column } = getLineInfo(text, Math.min(at, text.length));
      throw new EmissionError(what, line, column + 1, reason);
    }
  }
}

/** Offset and reason of a refusal or of a syntax error; anything else is passed on. */
function placeOf(error: unknown): [at: number, reason: string] {
  if (error instanceof Refusal) return [error.at, error.reason];
  if (error instanceof RangeError) return [0, "the text nests too deeply"];
  if (error instanceof SyntaxError && "pos" in error) {
    return [error.pos as number, `syntax error: ${error.message.replace(/ \(\d+:\d+\)$/, "")}`];
  }
  throw error;
}

type Local = "const" | "let" | "parameter";

/** One walk over one function. */
class Walk {
  /** Locals in scope. */
  private readonly locals = new Map<string, Local>();
  private interpreter = false;
  /** Words and locals that loops count down in. */
  private readonly budgets = new Set<Budget>();

  constructor(private readonly allowed: ReadonlySet<string>) {}

  root(text: string): void {
    const node = parseExpressionAt(text, 0, { ecmaVersion: 2022, sourceType: "script" }) as AnyNode;
    if (node.start !== 0) refuse({ start: 0 }, "text before the function");
    if (node.end !== text.length) refuse({ start: node.end }, "text after the function");
    if (node.type !== "FunctionExpression") refuse(node, `${node.type} where a function is expected`);
    this.function(node);
  }

  private function(node: FunctionExpression): void {
    if (node.async || node.generator) refuse(node, "the function is async or a generator");
    if (node.id === null || node.id === undefined) refuse(node, "the function has no name");
    this.checkName(node.id, node.id.name);
    this.interpreter = node.id.name === INTERPRETER || COLD_HANDLERS.test(node.id.name);
    for (const parameter of node.params) {
      if (parameter.type !== "Identifier") refuse(parameter, `${parameter.type} as a parameter`);
      this.declare(parameter, parameter.name, "parameter");
    }
    this.block(node.body);
  }

  // -- names

  private checkName(node: Node, name: string): void {
    if (this.allowed.has(name)) refuse(node, `${name} hides a binding`);
    if (unusableNames.has(name)) refuse(node, `${name} can't be a name of emitted code`);
  }

  private declare(node: Node, name: string, local: Local): void {
    this.checkName(node, name);
    if (this.locals.has(name)) refuse(node, `${name} hides another local`);
    this.locals.set(name, local);
  }

  // -- statements

  private block(node: BlockStatement): void {
    for (const child of node.body) this.statement(child);
    for (const child of node.body) {
      if (child.type !== "VariableDeclaration") continue;
      for (const { id } of child.declarations) {
        if (id.type === "Identifier") this.locals.delete(id.name);
      }
    }
  }

  private statement(node: Statement): void {
    switch (node.type) {
      case "BlockStatement":
        this.block(node);
        break;
      case "VariableDeclaration":
        this.declaration(node);
        break;
      case "ExpressionStatement":
        this.effect(node.expression);
        break;
      case "IfStatement":
        this.conditional(node);
        break;
      case "ReturnStatement":
        this.return(node);
        break;
      case "ForStatement":
        this.loop(node);
        break;
      case "SwitchStatement":
        this.switch(node);
        break;
      case "LabeledStatement":
        if (!LABELS.test(node.label.name)) refuse(node, `label ${node.label.name}`);
        if (node.body.type !== "ForStatement" && node.body.type !== "BlockStatement")
          refuse(node, "a label that is neither at a loop nor at a block");
        this.statement(node.body);
        break;
      case "BreakStatement":
      case "ContinueStatement":
        break;
      default:
        refuse(node, `${node.type} is not allowed`);
    }
  }

  private declaration(node: VariableDeclaration): void {
    const { kind } = node;
    if (kind !== "const" && kind !== "let") refuse(node, `${kind} is not allowed`);
    for (const { id, init } of node.declarations) {
      if (id.type !== "Identifier") refuse(id, `${id.type} is not allowed`);
      if (init) this.value(init, `the value of ${id.name}`, isNumberName(id.name));
      this.declare(id, id.name, kind);
    }
  }

  private conditional(node: IfStatement): void {
    this.expression(node.test);
    this.statement(node.consequent);
    if (node.alternate) this.statement(node.alternate);
  }

  private effect(node: Expression): void {
    if (node.type === "CallExpression") {
      if (node.callee.type === "Identifier" && node.callee.name === DISPATCHER) {
        refuse(node, `${DISPATCHER}() outside a return`);
      }
      this.call(node);
    } else if (node.type === "AssignmentExpression") this.assignment(node);
    else refuse(node, `${node.type} as a statement`);
  }

  private assignment(node: AssignmentExpression): void {
    const { left, operator, right } = node;
    if (operator !== "=") refuse(node, `the operator ${operator} is not allowed`);
    if (left.type === "MemberExpression") {
      this.element(left);
    } else if (left.type === "Identifier") {
      const local = this.locals.get(left.name);
      if (local === undefined) {
        refuse(
          left,
          this.allowed.has(left.name) ? `${left.name} is assigned to` : `unknown name ${left.name}`,
        );
      }
      if (local !== "let") refuse(left, `${left.name} is a ${local} and is assigned to`);
    } else refuse(left, `${left.type} is assigned to`);
    const budget = budgetOf(left);
    if (budget !== undefined && this.budgets.has(budget) && !lowers(budget, right))
      refuse(left, "a loop's budget is written");
    const takesNumber =
      left.type === "Identifier"
        ? isNumberName(left.name)
        : left.object.type === "Identifier" && numberViews.has(left.object.name);
    this.value(right, "the stored value", takesNumber);
  }

  private return(node: ReturnStatement): void {
    const { argument } = node;
    if (!argument) refuse(node, "return without a value");
    if (argument.type === "Literal" && argument.raw === "null") return;
    if (argument.type === "CallExpression") {
      this.call(argument);
      return;
    }
    this.integer(argument, "the result");
  }

  private loop(node: ForStatement): void {
    if (node.init || node.test || node.update) refuse(node, "a loop other than for (;;)");
    if (node.body.type !== "BlockStatement") refuse(node.body, "a loop without braces");
    if (!this.interpreter) {
      this.budgets.add(chargeOf(node, node.body));
    }
    this.block(node.body);
  }

  private switch(node: SwitchStatement): void {
    this.integer(node.discriminant, "what is switched on");
    for (const { test, consequent } of node.cases) {
      if (test) this.integer(test, "a case");
      for (const child of consequent) {
        if (child.type === "VariableDeclaration") refuse(child, "a declaration outside a case's braces");
        this.statement(child);
      }
    }
  }

  // -- expressions

  private integer(node: Expression, role: string): void {
    if (this.expression(node) !== Kind.integer) refuse(node, `${role} is not an integer expression`);
  }

  private value(node: Expression, role: string, isNumber: boolean): void {
    if (!isNumber) this.integer(node, role);
    else if (this.expression(node) === Kind.boolean) refuse(node, `${role} is not a number`);
  }

  private expression(node: Expression | Super): Kind {
    switch (node.type) {
      case "Literal":
        if (typeof node.value !== "number") refuse(node, `the literal ${node.raw} is not a number`);
        return Number.isInteger(node.value) ? Kind.integer : Kind.number;
      case "Identifier":
        return this.name(node, node.name);
      case "MemberExpression":
        return this.element(node);
      case "CallExpression":
        if (node.callee.type === "Identifier" && node.callee.name === DISPATCHER) {
          refuse(node, `${DISPATCHER}() outside a return`);
        }
        return this.call(node);
      case "UnaryExpression": {
        const kind = this.expression(node.argument);
        if (node.operator === "~") return Kind.integer;
        if (node.operator === "!") return Kind.boolean;
        if (node.operator !== "-") refuse(node, `the operator ${node.operator} is not allowed`);
        return kind === Kind.integer ? Kind.integer : Kind.number;
      }
      case "BinaryExpression": {
        if (node.left.type === "PrivateIdentifier") refuse(node, "PrivateIdentifier is not allowed");
        const left = this.expression(node.left);
        const right = this.expression(node.right);
        const { operator } = node;
        if (bitwise.has(operator)) return Kind.integer;
        if (comparisons.has(operator)) return Kind.boolean;
        if (operator === "+" || operator === "-") {
          return left === Kind.integer && right === Kind.integer ? Kind.integer : Kind.number;
        }
        if (operator === "*" || operator === "/" || operator === "%") return Kind.number;
        return refuse(node, `the operator ${operator} is not allowed`);
      }
      case "LogicalExpression":
        if (node.operator === "??") refuse(node, "the operator ?? is not allowed");
        this.expression(node.left);
        this.expression(node.right);
        return Kind.boolean;
      case "ConditionalExpression": {
        this.expression(node.test);
        const yes = this.expression(node.consequent);
        const no = this.expression(node.alternate);
        return yes === no ? yes : Kind.number;
      }
      default:
        refuse(node, `${node.type} is not allowed`);
    }
  }

  private name(node: Node, name: string): Kind {
    if (this.locals.has(name)) return isNumberName(name) ? Kind.number : Kind.integer;
    if (!this.allowed.has(name)) refuse(node, `unknown name ${name}`);
    refuse(node, views.has(name) ? `the view ${name} is not indexed` : `the function ${name} is not called`);
  }

  private call(node: CallExpression): Kind {
    const { callee } = node;
    if (callee.type !== "Identifier") refuse(callee, `${callee.type} is called`);
    if (node.optional) refuse(node, "an optional call");
    const { name } = callee;
    if (this.locals.has(name)) refuse(callee, `the local ${name} is called`);
    if (!this.allowed.has(name)) refuse(callee, `unknown name ${name}`);
    if (views.has(name)) refuse(callee, `the view ${name} is called`);
    const signature = doubleSignatures.get(name);
    node.arguments.forEach((argument, position) => {
      if (argument.type === "SpreadElement") refuse(argument, "SpreadElement is not allowed");
      this.value(argument, "an argument", signature?.parameters[position] === "n");
    });
    return signature?.result === "n" ? Kind.number : Kind.integer;
  }

  /** An element of a view, read or written. */
  private element(node: MemberExpression): Kind {
    const { object, property } = node;
    if (!node.computed) refuse(node, "property access is not allowed");
    if (node.optional) refuse(node, "optional access is not allowed");
    if (object.type !== "Identifier") refuse(object, `${object.type} is indexed`);
    if (this.locals.has(object.name) || !views.has(object.name))
      refuse(object, `${object.name} is indexed: not a view`);
    if (!this.allowed.has(object.name)) refuse(object, `unknown name ${object.name}`);
    this.index(property as Expression);
    return numberViews.has(object.name) ? Kind.number : Kind.integer;
  }

  private index(node: Expression): void {
    if (node.type === "Literal") {
      if (!isIndexLiteral(node.value)) refuse(node, `the index ${node.raw} is not an integer expression`);
      return;
    }
    const allowed =
      node.type === "Identifier" || (node.type === "BinaryExpression" && indexOperators.has(node.operator));
    if (!allowed) refuse(node, "the index is not an integer expression");
    this.integer(node, "the index");
  }
}

const isNumberName = (name: string): boolean => name.startsWith("$");

const isIndexLiteral = (value: unknown): boolean =>
  typeof value === "number" && Number.isInteger(value) && value >= 0;

/** The word that `I[word]` names with a literal, or undefined. */
function literalWord(node: AnyNode): number | undefined {
  if (node.type !== "MemberExpression" || !node.computed || node.property.type !== "Literal")
    return undefined;
  if (node.object.type !== "Identifier" || node.object.name !== "I") return undefined;
  return isIndexLiteral(node.property.value) ? (node.property.value as number) : undefined;
}

const positiveLiteral = (node: AnyNode): boolean =>
  node.type === "Literal" && isIndexLiteral(node.value) && (node.value as number) > 0;

/** Where a loop counts down: the word that `I[word]` names, or a local. */
type Budget = number | string;

const budgetOf = (node: AnyNode): Budget | undefined =>
  node.type === "Identifier" ? node.name : literalWord(node);

/** Whether a statement, the first of a loop, leaves the loop whatever happens. */
const alwaysLeaves = (node: AnyNode): boolean =>
  node.type === "ReturnStatement" ||
  node.type === "BreakStatement" ||
  (node.type === "BlockStatement" && node.body.length > 0 && alwaysLeaves(node.body[node.body.length - 1]!));

/** Demands `if (b < n) ... leave; b = b - m;` with positive n and m at the start of a loop's body; gives `b`. */
function chargeOf(loop: ForStatement, body: BlockStatement): Budget {
  const [check, next] = body.body;
  const budget = check?.type === "IfStatement" && !check.alternate ? checkedBudget(check) : undefined;
  if (budget === undefined) refuse(loop, "a loop that does not begin with a budget check");
  // The charge may stand in the blocks whose ends are the loop's merge points.
  let charge = next;
  while (charge?.type === "LabeledStatement" && charge.body.type === "BlockStatement")
    charge = charge.body.body[0];
  if (charge?.type === "ExpressionStatement" && charge.expression.type === "AssignmentExpression") {
    const { left, right, operator } = charge.expression;
    if (operator === "=" && budgetOf(left) === budget && amountTaken(budget, right)?.type === "Literal")
      return budget;
  }
  return refuse(charge ?? loop, "a loop that does not charge its budget");
}

function checkedBudget({ test, consequent }: IfStatement): Budget | undefined {
  if (test.type !== "BinaryExpression" || test.operator !== "<") return undefined;
  if (!positiveLiteral(test.right) || !alwaysLeaves(consequent)) return undefined;
  return budgetOf(test.left);
}

/** What `b - amount` or `b - amount | 0` takes from `b`, where that is a positive literal or `... & literal`. */
function amountTaken(budget: Budget, value: AnyNode): AnyNode | undefined {
  if (value.type !== "BinaryExpression") return undefined;
  const isNothing = value.right.type === "Literal" && value.right.value === 0;
  if (value.operator === "|" && isNothing) return amountTaken(budget, value.left);
  if (value.operator !== "-" || budgetOf(value.left) !== budget) return undefined;
  const { right: amount } = value;
  if (positiveLiteral(amount)) return amount;
  const isMasked = amount.type === "BinaryExpression" && amount.operator === "&";
  return isMasked && positiveLiteral(amount.right) ? amount : undefined;
}

const lowers = (budget: Budget, value: AnyNode): boolean => amountTaken(budget, value) !== undefined;
