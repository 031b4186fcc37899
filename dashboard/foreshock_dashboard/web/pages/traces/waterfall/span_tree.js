// The spans of a trace as the rows of a tree.

/** @typedef {import("#web/pages/traces/payload.d.ts").Span} Span */
/**
 * A span, or spans of one kind that are one row until it is opened.
 * @typedef {Span & { members?: Span[] }} TreeSpan
 */
/**
 * A row of the tree.
 * @typedef {object} TreeRow
 * @property {TreeSpan} span
 * @property {number} level 1 for roots
 * @property {number} childCount
 * @property {boolean} isOrphan its parent is not there
 */

/** As many leaves of one name under one parent are one row: a loop of queries would hide the rest. */
const MIN_GROUP_SPANS = 5;

/**
 * One span for a group of them.
 * @param {[Span, ...Span[]]} members
 * @returns {TreeSpan}
 */
const groupSpan = (members) => {
  const [first] = members;
  const start = Math.min(...members.map((span) => span.offset_seconds));
  const end = Math.max(...members.map((span) => span.offset_seconds + span.duration_seconds));
  return {
    ...first,
    span_id: `group-${first.span_id}`,
    offset_seconds: start,
    duration_seconds: end - start,
    gpu: null,
    critical: members.flatMap(({ critical = [] }) => critical),
    gaps: [],
    members,
  };
};

/**
 * Children, of which many leaves of one kind are one group.
 * @param {readonly Span[]} children
 * @param {(span: Span) => boolean} isLeaf
 * @returns {TreeSpan[]}
 */
const groupLeaves = (children, isLeaf) => {
  /** @type {Map<string, [Span, ...Span[]]>} */
  const groups = new Map();
  for (const span of children) {
    const key = isLeaf(span) ? JSON.stringify([span.service, span.name, span.kind, span.status]) : span.span_id;
    const group = groups.get(key);
    if (group) group.push(span);
    else groups.set(key, [span]);
  }
  return [...groups.values()].flatMap((group) => (group.length >= MIN_GROUP_SPANS ? [groupSpan(group)] : group));
};

/**
 * @param {readonly TreeSpan[]} spans
 * @returns {TreeSpan[]}
 */
const byStart = (spans) => [...spans].sort((a, b) => a.offset_seconds - b.offset_seconds);

/**
 * The rows of a trace: children under their parents by start. Spans whose parent is not there, and those in a circle,
 * are roots.
 * @param {readonly Span[]} spans
 * @returns {TreeRow[]}
 */
export const treeRows = (spans) => {
  const ids = new Set(spans.map(({ span_id: id }) => id));
  /** @type {Map<string, Span[]>} */
  const children = new Map();
  for (const span of spans) {
    const parent = ids.has(span.parent_id) && span.parent_id !== span.span_id ? span.parent_id : "";
    const siblings = children.get(parent);
    if (siblings) siblings.push(span);
    else children.set(parent, [span]);
  }
  const isLeaf = (/** @type {Span} */ span) => !children.has(span.span_id);
  /** @type {TreeRow[]} */
  const rows = [];
  /** @type {Set<string>} */
  const visited = new Set();
  const visit = (/** @type {Span} */ root) => {
    /** @type {[TreeSpan, number][]} */
    const stack = [[root, 1]];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const [span, level] = next;
      if (visited.has(span.span_id)) continue;
      visited.add(span.span_id);
      const below = byStart(span.members ?? groupLeaves(children.get(span.span_id) ?? [], isLeaf));
      rows.push({ span, level, childCount: below.length, isOrphan: level === 1 && span.parent_id !== "" });
      for (const child of below.reverse()) stack.push([child, level + 1]);
    }
  };
  for (const root of [...(children.get("") ?? []), ...spans]) visit(root);
  return rows;
};

/**
 * The rows that are not below a folded one.
 * @param {readonly TreeRow[]} rows
 * @param {ReadonlySet<string>} folded ids of spans
 */
export const visibleRows = (rows, folded) => {
  let hiddenBelow = Number.POSITIVE_INFINITY;
  return rows.filter(({ span, level }) => {
    if (level > hiddenBelow) return false;
    hiddenBelow = folded.has(span.span_id) ? level : Number.POSITIVE_INFINITY;
    return true;
  });
};
