/** The worker that runs a page's machine. */
import type { WorkerInput, WorkerMethod, WorkerNews, WorkerRequest, WorkerRequests } from "./protocol.js";
import { WorkerMachine } from "./worker-machine.js";

const scope = globalThis as unknown as {
  postMessage(news: WorkerNews, transfer: Transferable[]): void;
  onmessage: ((event: MessageEvent<WorkerRequest | WorkerInput>) => void) | null;
};

function tell(news: WorkerNews, bytes?: unknown): void {
  scope.postMessage(news, bytes instanceof Uint8Array ? [bytes.buffer as ArrayBuffer] : []);
}

const machine = new WorkerMachine((news) => tell(news, news.kind === "output" ? news.bytes : undefined));

const methods: {
  readonly [Method in WorkerMethod]: (
    args: WorkerRequests[Method]["args"],
  ) => WorkerRequests[Method]["result"] | Promise<WorkerRequests[Method]["result"]>;
} = {
  start: (recipe) => machine.start(recipe).then(() => undefined),
  pause: () => machine.pause() as undefined,
  resume: () => machine.resume() as undefined,
  reset: () => machine.reset().then(() => undefined),
  stop: () => machine.stop().then(() => undefined),
  save: () => machine.save(),
  statistics: () => machine.statistics(),
  type: (bytes) => machine.type(bytes) as undefined,
};

async function answer({ id, method, args }: WorkerRequest): Promise<void> {
  try {
    const result = await methods[method](args as never);
    tell({ kind: "reply", id, result }, result);
  } catch (error) {
    const { message, code } = error as { message?: string; code?: string };
    tell({ kind: "refusal", id, message: message ?? String(error), code: code ?? "E_WORKER" });
  }
}

let last = Promise.resolve();
scope.onmessage = ({ data }) => {
  switch (data.kind) {
    case "request":
      // Keys reach a guest while it is being saved, or before it has started; all else keeps its order.
      if (data.method === "type") void answer(data);
      else last = last.then(() => answer(data));
      break;
    case "heard":
      machine.heard(data.bytes);
      break;
    case "resize":
      machine.resize(data.columns, data.rows);
      break;
  }
};
