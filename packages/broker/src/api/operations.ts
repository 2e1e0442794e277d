/**
 * The daemon's HTTP API as data: every operation with its place, what it takes and what it gives. The server routes by
 * this table, and the OpenAPI document is made from it, so that neither can have what the other lacks.
 */

/** A JSON schema. */
export type Schema = Readonly<Record<string, unknown>>;

/** One operation. */
export interface Operation {
  readonly id: string;
  readonly method: "get" | "post" | "patch" | "delete";
  /** With parameters in braces. */
  readonly path: string;
  readonly summary: string;
  /** Parameters after the question mark. */
  readonly query?: Readonly<Record<string, Schema>>;
  /** Body, as JSON. */
  readonly body?: Schema;
  /** Answer; JSON unless `type` says otherwise. */
  readonly answer: { readonly type?: string; readonly schema: Schema; readonly description: string };
}

const text = { type: "string" } as const;
const number = { type: "number" } as const;
const integer = { type: "integer" } as const;
const flag = { type: "boolean" } as const;
const object = (properties: Readonly<Record<string, Schema>>, required?: readonly string[]): Schema => ({
  type: "object",
  properties,
  ...(required === undefined ? { required: Object.keys(properties) } : { required }),
});
const list = (items: Schema): Schema => ({ type: "array", items });
const ref = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` });
const done = { schema: object({}), description: "It is done." };

/** Schemas that several operations use. */
export const components: Readonly<Record<string, Schema>> = {
  Allotment: object({
    shares: integer,
    reservation: number,
    limit: { ...number, nullable: true, description: "null for none" },
  }),
  Rate: object({
    reservation: number,
    limit: { ...number, nullable: true, description: "null for none" },
  }),
  DiskAllotment: object({
    shares: integer,
    iops: { ...ref("Rate"), description: "Operations a second" },
    bandwidth: { ...ref("Rate"), description: "Bytes a second" },
  }),
  NetAllotment: object({
    shares: integer,
    send: { ...ref("Rate"), description: "Bytes a second" },
    receive: { ...ref("Rate"), description: "Bytes a second" },
  }),
  Accounts: object(
    {
      used: number,
      preempted: number,
      ready: number,
      limited: number,
      waiting: number,
      idle: number,
      stopped: number,
      steal: number,
    },
    ["used", "ready", "waiting", "idle", "steal"],
  ),
  Memory: object({
    granted: integer,
    touched: integer,
    ballooned: integer,
    shared: integer,
    swapped: integer,
    target: { ...integer, description: "What it may have now" },
    active: { ...integer, description: "What it seems to use" },
  }),
  Nic: object(
    {
      network: { ...text, description: "Missing for a cable that leads nowhere" },
      mac: text,
      address: { ...text, description: "Missing where nobody knows" },
      forwards: { ...list(text), description: "HOSTADDRESS:HOSTPORT:GUESTPORT, with udp: before it" },
      counters: { type: "object", additionalProperties: number },
    },
    ["mac", "forwards", "counters"],
  ),
  Snapshot: object({ name: text, bytes: integer, at: number }),
  Vm: object(
    {
      name: text,
      project: text,
      pool: text,
      state: { enum: ["off", "starting", "running", "paused", "stopping", "crashed"] },
      status: integer,
      message: text,
      startedAt: number,
      restarts: integer,
      restart: { enum: ["never", "on-failure", "always"] },
      memoryBytes: integer,
      cpu: ref("Allotment"),
      memoryAllotment: { ...ref("Allotment"), description: "In bytes" },
      disk: { ...ref("DiskAllotment"), description: "Of all its disks together" },
      net: { ...ref("NetAllotment"), description: "Of all its network cards together" },
      accounts: { ...ref("Accounts"), description: "Seconds since it was started" },
      activity: { enum: ["stopped", "idle", "waiting", "ready", "limited", "running"] },
      silentMs: {
        ...integer,
        description: "For which its thread has not answered: the rest is what it told last",
      },
      instructions: number,
      memory: ref("Memory"),
      counters: { type: "object", additionalProperties: number },
      nics: { ...list(ref("Nic")), description: "Network cards" },
      snapshots: list(ref("Snapshot")),
    },
    [
      "name",
      "project",
      "pool",
      "state",
      "cpu",
      "memoryAllotment",
      "disk",
      "net",
      "memoryBytes",
      "nics",
      "snapshots",
    ],
  ),
  Pool: object(
    {
      name: text,
      parent: text,
      cpu: ref("Allotment"),
      memory: ref("Allotment"),
      disk: ref("DiskAllotment"),
      net: ref("NetAllotment"),
      claim: number,
      available: number,
    },
    ["name", "cpu", "memory", "disk", "net", "claim", "available"],
  ),
  Event: object({ id: integer, at: number, kind: text, name: text, message: text }, [
    "id",
    "at",
    "kind",
    "name",
  ]),
  Activity: object({ at: number, project: text, vm: text, what: text }, ["at", "project", "what"]),
  Sample: object({
    at: number,
    vms: { type: "object", additionalProperties: ref("VmSample") },
  }),
  VmSample: object({
    used: number,
    ready: number,
    waiting: number,
    idle: number,
    steal: number,
    instructions: number,
    io: number,
    diskOperations: integer,
    diskBytes: integer,
    throttled: { ...number, description: "Seconds in which requests of its disks waited for their turns" },
    diskP50: { ...number, description: "Milliseconds, since the sample before" },
    diskP99: { ...number, description: "Milliseconds, since the sample before" },
    netSent: { ...integer, description: "Bytes" },
    netReceived: { ...integer, description: "Bytes" },
    netDropped: { ...integer, description: "Frames" },
    netRefused: { ...integer, description: "Connections and datagrams that a policy refused" },
    granted: integer,
    touched: integer,
    ballooned: integer,
    shared: integer,
    swapped: integer,
    target: integer,
    active: integer,
  }),
  HostMemory: object({ total: integer, free: integer, state: { enum: ["high", "soft", "hard", "low"] } }),
  Error: object({ code: text, message: text, problems: list(text) }, ["code", "message"]),
};

/** All operations. */
export const operations = [
  {
    id: "version",
    method: "get",
    path: "/v1/version",
    summary: "The daemon's version and process",
    answer: {
      schema: object({
        version: text,
        pid: integer,
        cores: integer,
        memory: ref("HostMemory"),
        folder: text,
      }),
      description: "What answers.",
    },
  },
  {
    id: "openapi",
    method: "get",
    path: "/v1/openapi.json",
    summary: "This document",
    answer: { schema: { type: "object" }, description: "An OpenAPI document." },
  },
  {
    id: "up",
    method: "post",
    path: "/v1/up",
    summary: "Make a Hyperfile so: start what is off, apply changes to what runs",
    body: object({ text, file: text, folder: text, restart: flag }, ["text", "file", "folder"]),
    answer: {
      schema: object({
        project: text,
        actions: list(object({ name: text, action: text, detail: text, code: text }, ["name", "action"])),
      }),
      description: "What was done.",
    },
  },
  {
    id: "down",
    method: "post",
    path: "/v1/projects/{project}/down",
    summary: "Stop a project's VMs and forget them; logs and snapshots stay",
    body: object({ force: flag }, []),
    answer: { schema: list(text), description: "The VMs that were stopped." },
  },
  {
    id: "listVms",
    method: "get",
    path: "/v1/vms",
    summary: "All VMs",
    answer: { schema: list(ref("Vm")), description: "The VMs." },
  },
  {
    id: "getVm",
    method: "get",
    path: "/v1/vms/{vm}",
    summary: "One VM",
    answer: { schema: ref("Vm"), description: "The VM." },
  },
  {
    id: "removeVm",
    method: "delete",
    path: "/v1/vms/{vm}",
    summary: "Forget a VM, with its log and snapshots",
    query: { force: flag },
    answer: done,
  },
  {
    id: "setVm",
    method: "patch",
    path: "/v1/vms/{vm}",
    summary: "Change settings, at once",
    body: object({ settings: { ...list(text), description: "NAME=VALUE" } }),
    answer: { schema: ref("Vm"), description: "The VM as it is now." },
  },
  {
    id: "setPool",
    method: "patch",
    path: "/v1/pools/{pool}",
    summary: "Change a pool, at once",
    body: object({ settings: { ...list(text), description: "NAME=VALUE" } }),
    answer: done,
  },
  {
    id: "startVm",
    method: "post",
    path: "/v1/vms/{vm}/start",
    summary: "Start a VM, from a snapshot if one is named",
    body: object({ snapshot: text }, []),
    answer: done,
  },
  {
    id: "stopVm",
    method: "post",
    path: "/v1/vms/{vm}/stop",
    summary: "Stop a VM: by its shutdown command, or by force",
    body: object({ force: flag, timeoutMs: number }, []),
    answer: done,
  },
  {
    id: "pauseVm",
    method: "post",
    path: "/v1/vms/{vm}/pause",
    summary: "Halt a VM; `clock` of its Hyperfile says what its clock does afterwards",
    answer: done,
  },
  {
    id: "resumeVm",
    method: "post",
    path: "/v1/vms/{vm}/resume",
    summary: "Let a paused VM go on",
    answer: done,
  },
  {
    id: "resetVm",
    method: "post",
    path: "/v1/vms/{vm}/reset",
    summary: "Power off and on",
    answer: done,
  },
  {
    id: "snapshotVm",
    method: "post",
    path: "/v1/vms/{vm}/snapshots/{snapshot}",
    summary: "Save a VM; it goes on afterwards",
    answer: { schema: ref("Snapshot"), description: "The snapshot." },
  },
  {
    id: "restoreVm",
    method: "post",
    path: "/v1/vms/{vm}/restore",
    summary:
      "Go back to a snapshot; a VM that is up runs on as it was if that fails, and one that is off is started",
    body: object({ snapshot: text }),
    answer: done,
  },
  {
    id: "backupVm",
    method: "post",
    path: "/v1/vms/{vm}/backups",
    summary: "Copy a disk as it is now to an image store; the VM goes on",
    body: object(
      {
        disk: { ...integer, description: "Number of the disk; 0 unless given" },
        store: { ...text, description: "Folder of the store, as an absolute path" },
        name: { ...text, description: "Of the image there; there must be none yet" },
      },
      ["store", "name"],
    ),
    answer: {
      schema: object({
        bytes: { ...integer, description: "Bytes that were copied" },
        isWhole: { ...flag, description: "Whether all of the disk was looked at" },
      }),
      description: "What was copied.",
    },
  },
  {
    id: "cloneVm",
    method: "post",
    path: "/v1/vms/{vm}/clone",
    summary: "Copy a running VM",
    body: object({ name: text, settings: list(text) }, ["name"]),
    answer: { schema: object({ milliseconds: number }), description: "How long it took." },
  },
  {
    id: "forwardVm",
    method: "post",
    path: "/v1/vms/{vm}/forwards",
    summary: "Let a port of the host lead to a VM, at once and when it is started again",
    body: object(
      {
        forward: { ...text, description: "[udp:][HOSTADDRESS:]HOSTPORT:GUESTPORT; port 0 for any" },
        card: {
          ...integer,
          description: "Number of the card; the first that can have forwards unless given",
        },
      },
      ["forward"],
    ),
    answer: { schema: object({ forward: text }), description: "The forward, with the port that it has." },
  },
  {
    id: "unforwardVm",
    method: "delete",
    path: "/v1/vms/{vm}/forwards",
    summary: "End a forward; connections that came by it go on",
    query: { forward: text },
    answer: done,
  },
  {
    id: "execVm",
    method: "post",
    path: "/v1/vms/{vm}/exec",
    summary: "Run a line of the shell in a VM: through its agent, or without one on its console",
    body: object({ command: text, timeoutMs: number }, ["command"]),
    answer: {
      schema: object(
        {
          status: integer,
          output: { ...text, description: "The last 4 Mi characters" },
          omitted: { ...integer, description: "Characters before those; missing if there are none" },
          errors: {
            ...text,
            description: "The last 4 Mi characters; missing on a console, where they are part of the output",
          },
          errorsOmitted: { ...integer, description: "Characters before those; missing if there are none" },
        },
        ["status", "output"],
      ),
      description: "Status, output and errors.",
    },
  },
  {
    id: "logsVm",
    method: "get",
    path: "/v1/vms/{vm}/logs",
    summary: "The end of a VM's console log",
    query: { bytes: integer },
    answer: {
      type: "application/octet-stream",
      schema: { type: "string", format: "binary" },
      description: "The log.",
    },
  },
  {
    id: "consoleVm",
    method: "get",
    path: "/v1/vms/{vm}/console",
    summary:
      'A VM\'s console over WebSocket: binary messages are bytes of the console; text messages are JSON: {"columns": 80, "rows": 24} to the VM, {"dropped": 4096} to a client that does not read so many bytes in time',
    query: { tail: { ...integer, description: "Bytes of the log to begin with" } },
    answer: { schema: object({}), description: "Answers over HTTP only that it needs an upgrade." },
  },
  {
    id: "connectVm",
    method: "get",
    path: "/v1/vms/{vm}/ports/{port}",
    summary:
      'A stream over WebSocket to a program that listens at a port of virtio-vsock in a VM: binary messages are its bytes; text messages are JSON: {"end": true} from a client that sends nothing more, {"opened": true} and {"ended": true} to it. Code 4000 closes one that was not opened, its reason being refused, no-driver, too-many or a sentence, 4001 one that broke off, 1000 one that is over',
    answer: { schema: object({}), description: "Answers over HTTP only that it needs an upgrade." },
  },
  {
    id: "captureNetwork",
    method: "get",
    path: "/v1/networks/{network}/capture",
    summary:
      'What passes a network (NETWORK or PROJECT/NETWORK) of VMs that are up, as pcapng over WebSocket: binary messages are whole blocks; text messages are JSON: {"end": true} from a client that wants no more, {"frames": 7, "dropped": 0} to it after each part, and {"ended": "asked"} (or size, time, network: no VM of it is up any more) at the end. What a client does not read in time is dropped. Code 4001 closes one that broke off',
    query: {
      vm: { ...text, description: "The only VM" },
      bytes: { ...integer, description: "Size at which it ends" },
      seconds: { ...number, description: "Time after which it ends" },
      snaplen: { ...integer, description: "Bytes that are kept of a frame" },
    },
    answer: { schema: object({}), description: "Answers over HTTP only that it needs an upgrade." },
  },
  {
    id: "activities",
    method: "get",
    path: "/v1/activities",
    summary: "What is being done with projects and VMs at this moment, the oldest first",
    answer: { schema: list(ref("Activity")), description: "What others may wait for." },
  },
  {
    id: "listPools",
    method: "get",
    path: "/v1/pools",
    summary: "All pools, those around others first",
    answer: { schema: list(ref("Pool")), description: "The pools." },
  },
  {
    id: "history",
    method: "get",
    path: "/v1/history",
    summary: "Samples of all VMs, one a second",
    query: { seconds: integer },
    answer: { schema: list(ref("Sample")), description: "The last samples." },
  },
  {
    id: "events",
    method: "get",
    path: "/v1/events",
    summary:
      "Events as they happen (server-sent events), after those since a number; one of kind events.dropped stands for those that a client was too slow for",
    query: { since: integer },
    answer: {
      type: "text/event-stream",
      schema: ref("Event"),
      description: "Each event as JSON in a data field.",
    },
  },
  {
    id: "pastEvents",
    method: "get",
    path: "/v1/events/past",
    summary: "The last events",
    answer: { schema: list(ref("Event")), description: "The events." },
  },
  {
    id: "metrics",
    method: "get",
    path: "/metrics",
    summary: "Figures for Prometheus",
    answer: { type: "text/plain", schema: text, description: "Text exposition format 0.0.4." },
  },
  {
    id: "shutdown",
    method: "post",
    path: "/v1/shutdown",
    summary: "Stop all VMs by force and end the daemon",
    answer: done,
  },
] as const satisfies readonly Operation[];

/** Names of the operations. */
export type OperationId = (typeof operations)[number]["id"];

/** The OpenAPI document (version 3.0). */
export function openApiDocument(version: string): Schema {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const operation of operations as readonly Operation[]) {
    const { id, method, path, summary, query = {}, body, answer } = operation;
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!);
    paths[path] ??= {};
    paths[path][method] = {
      operationId: id,
      summary,
      parameters: [
        ...inPath.map((name) => ({ name, in: "path", required: true, schema: text })),
        ...Object.entries(query).map(([name, schema]) => ({ name, in: "query", schema })),
      ],
      ...(body === undefined ? {} : { requestBody: { content: { "application/json": { schema: body } } } }),
      responses: {
        "200": {
          description: answer.description,
          content: { [answer.type ?? "application/json"]: { schema: answer.schema } },
        },
        default: {
          description: "It can't be done; nothing has changed unless the message says so.",
          content: { "application/json": { schema: ref("Error") } },
        },
      },
    };
  }
  return {
    openapi: "3.0.3",
    info: {
      title: "Hyperfile daemon",
      version,
      description:
        "Virtual machines that share one computer. Over a local socket that only its owner may use.",
    },
    paths,
    components: { schemas: components },
  };
}
