// What Dash and Plotly put into the browser's window.
export interface Plotly {
  react(element: Element, traces: object[], layout: object, config: object): void;
  restyle(element: Element, update: object, traces: number[]): void;
}

/** Stands in for Plotly until its script is loaded. */
interface PlotlyPromise {
  then(resolve: () => void, reject: (error: unknown) => void): void;
}

interface DashClientside {
  no_update?: unknown;
  set_props?(id: string, props: object): void;
  foreshock?: Record<string, (value: unknown) => unknown>;
}

declare global {
  interface Window {
    Plotly?: Plotly | PlotlyPromise;
    _dashPlotlyJSURL?: string;
    dash_clientside?: DashClientside;
    /** Of the polyfills. */
    regeneratorRuntime?: unknown;
  }
}
