// The suspected cause of an incident, with links to what it names.
import { gpuHref, link, pairHref, serviceHref, serviceLink } from "#web/assets/address.js";
import { clauseText, clauseTexts, exactTime, timeElement } from "#web/assets/clock.js";
import { fact, h } from "#web/assets/dom.js";
import { formatPercent, isNumber, unbroken } from "#web/assets/format.js";
import { live } from "#web/assets/state.js";
import { CONFIDENCE_LEVELS, NOW_TEXTS, QUALITIES } from "#web/assets/words.js";

/** @typedef {import("#web/assets/payload.d.ts").Clause} Clause */
/** @typedef {import("#web/assets/payload.d.ts").Incident} Incident */

/**
 * Where a clause leads; null for words and times.
 * @param {Clause} clause
 */
const clauseHref = ({ kind, services: [first = "", second = ""], gpus: [gpu = ""] }) => {
  if (kind === "service") return serviceHref(first);
  if (kind === "pair") return pairHref(first, second);
  return kind === "gpus" ? gpuHref(gpu) : null;
};

/** @param {Clause} clause */
export const clauseLink = (clause) => {
  if (clause.kind === "evidence") return h("a", { href: "#evidence-panel" }, clause.text);
  const href = clauseHref(clause);
  return href ? link(href, clause.text, clause.kind === "gpus" ? clause.gpus.join(", ") : null) : clauseText(clause);
};

/**
 * A text with links to what it names, unbroken between numbers and units.
 * @param {readonly Clause[]} clauses
 */
export const linked = (clauses) => {
  const texts = clauseTexts(clauses);
  return clauses.map((clause, i) => {
    if (clause.kind === "moment" && isNumber(clause.at)) return exactTime(clause.at, texts[i]);
    if (isNumber(clause.at)) return timeElement(clause.at, live.time);
    return clause.kind ? clauseLink(clause) : unbroken(clause.text);
  });
};

/**
 * The suspected cause, or the candidates, with the confidence, and the cause that began after the page.
 * @param {readonly Clause[]} suspected
 * @param {Pick<Incident, "cause" | "confidence" | "confidence_level" | "quality" | "later" | "service">} incident
 */
export const causeFact = (suspected, { cause, confidence, confidence_level: level, quality, later, service }) => {
  const title = `${NOW_TEXTS.confidence} ${formatPercent(confidence)} (${QUALITIES[quality]})`;
  const where = later && later.service !== service ? [serviceLink(later.service), ": "] : [];
  return [
    fact(
      cause ? "Suspected cause" : NOW_TEXTS.candidates,
      linked(suspected),
      " ",
      h("span", { class: "level", title }, CONFIDENCE_LEVELS[level]),
    ),
    later ? fact("Later also", where, linked(later.clauses)) : null,
  ];
};
