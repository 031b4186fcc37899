/** A page's script. Pages are found by the `data-page` of what Dash puts into the document. */
export interface Page {
  /** Called when the page is put into the document. */
  mount?(): void;
  /** Called with the page's values; `unchanged` where they are those of the call before. */
  // biome-ignore lint/suspicious/noExplicitAny: each page has other values.
  update?(data: any, unchanged: boolean): void;
  /** The parameters of the address for a range that was dragged on the other axis of a chart. */
  yRangeParams?(low: number, high: number): Record<string, string>;
}

/** The names in braces of a text: "name" | "filter" of "No {name} matches {filter}.". */
export type NamesIn<T extends string> = T extends `${string}{${infer Name}}${infer Rest}`
  ? Name | NamesIn<Rest>
  : never;
