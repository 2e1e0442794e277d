/**
 * Where this host gets Debian from: the mirror and keyring of its own apt sources, in both formats that apt
 * reads (one-line `.list` and deb822 `.sources`, see sources.list(5)). The guest's packages come from the
 * same mirror, checked with the same keys, so a host behind a local mirror or proxy needs no extra setting.
 *
 * Third-party repositories often use Debian's suite names; sources are therefore ranked by how much they
 * look like the Debian archive itself, and the best one wins.
 */

/** One `deb` source: an archive, one suite of it, and the keys that sign it. */
export interface AptSource {
  /** Base of the archive, such as `http://deb.debian.org/debian`, without a trailing slash. */
  uri: string;
  /** Suite name, such as `bookworm` or `bookworm-updates`. */
  suite: string;
  /** Components, such as `main`. */
  components: string[];
  /** `Signed-By`: a keyring path, or an inline ASCII-armoured key, or undefined for apt's default keys. */
  signedBy: string | undefined;
}

/** The archive to fetch the guest from. */
export interface DebianArchive {
  /** Base of the archive, without a trailing slash. */
  uri: string;
  /** Keyring path or inline key, or undefined when apt's default keys have to do. */
  signedBy: string | undefined;
}

/** Parses a one-line-format sources file. Lines that are no binary source are passed over, as apt does. */
export function parseListSources(text: string): AptSource[] {
  const sources: AptSource[] = [];
  for (const raw of text.split("\n")) {
    const line = raw.replace(/#.*/, "").trim();
    const match = /^deb\s+(?:\[([^\]]*)\]\s*)?(\S+)\s+(\S+)\s*(.*)$/.exec(line);
    if (!match) continue;
    const [, options = "", uri, suite, components] = match;
    const signedBy = /(?:^|\s)signed-by=(\S+)/i.exec(options)?.[1];
    sources.push({
      uri: uri.replace(/\/+$/, ""),
      suite: suite.replace(/\/+$/, ""),
      components: components.split(/\s+/).filter(Boolean),
      signedBy: signedBy?.split(",")[0],
    });
  }
  return sources;
}

/** The fields of each stanza of a deb822 file; names in lower case, continuation lines joined with `\n`. */
export function parseDeb822(text: string): Map<string, string>[] {
  const stanzas: Map<string, string>[] = [];
  let stanza = new Map<string, string>();
  let field: string | undefined;
  const finish = () => {
    if (stanza.size > 0) stanzas.push(stanza);
    stanza = new Map();
    field = undefined;
  };
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    if (line.trim() === "") {
      finish();
    } else if (/^\s/.test(line)) {
      if (field !== undefined) stanza.set(field, `${stanza.get(field)}\n${line.trim()}`.trim());
    } else {
      const colon = line.indexOf(":");
      if (colon < 0) continue;
      field = line.slice(0, colon).trim().toLowerCase();
      stanza.set(field, line.slice(colon + 1).trim());
    }
  }
  finish();
  return stanzas;
}

/** Parses a deb822 `.sources` file into one source for each pair of archive and suite. */
export function parseDeb822Sources(text: string): AptSource[] {
  const words = (value: string | undefined) => (value ?? "").split(/\s+/).filter(Boolean);
  const sources: AptSource[] = [];
  for (const stanza of parseDeb822(text)) {
    if (!words(stanza.get("types")).includes("deb")) continue;
    if (/^(no|false|without|off|disable|0)$/i.test(stanza.get("enabled") ?? "")) continue;
    const signedBy = signedByOf(stanza.get("signed-by"));
    for (const uri of words(stanza.get("uris"))) {
      for (const suite of words(stanza.get("suites"))) {
        sources.push({
          uri: uri.replace(/\/+$/, ""),
          suite: suite.replace(/\/+$/, ""),
          components: words(stanza.get("components")),
          signedBy,
        });
      }
    }
  }
  return sources;
}

/** A `Signed-By` field: an inline key keeps its lines (a lone dot stands for an empty one), else the first word. */
function signedByOf(value: string | undefined): string | undefined {
  if (!value) return undefined;
  if (value.includes("-----BEGIN PGP")) {
    return `${value
      .split("\n")
      .map((line) => (line === "." ? "" : line))
      .join("\n")
      .trim()}\n`;
  }
  return value.split(/[\s,]+/)[0] || undefined;
}

const suiteNames =
  /^(?:oldoldstable|oldstable|stable|testing|unstable|sid|buster|bullseye|bookworm|trixie|forky|duke)$/;

/** How much a source looks like the Debian archive; below zero it is none. */
function likeness(source: AptSource, all: readonly AptSource[]): number {
  if (!suiteNames.test(source.suite) || !source.components.includes("main")) return -1;
  if (/^cdrom:/.test(source.uri) || /security/.test(source.uri)) return -1;
  let score = 0;
  if (/debian-archive/.test(source.signedBy ?? "")) score += 4;
  if (/\/debian$/.test(source.uri)) score += 2;
  if (/^[a-z+]*:\/\/(?:[^/]*\.)?debian\.org(?:\/|$)/.test(source.uri)) score += 2;
  if (all.some(({ uri, suite }) => uri === source.uri && suite === `${source.suite}-updates`)) score += 2;
  return score;
}

/**
 * The Debian archive among the host's sources, or undefined when none of them is one.
 * A source with no sign of being Debian but the suite name is not taken for it.
 */
export function findDebianArchive(sources: readonly AptSource[]): DebianArchive | undefined {
  let best: AptSource | undefined;
  let bestScore = 0;
  for (const source of sources) {
    const score = likeness(source, sources);
    if (score > bestScore) {
      best = source;
      bestScore = score;
    }
  }
  return best && { uri: best.uri, signedBy: best.signedBy };
}
