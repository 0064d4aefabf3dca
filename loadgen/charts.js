"use strict";
/* Draws a run's figures (Live.document) as SVG: bases/s, latency, stages of an answer, and each path. */
const fivewaysCharts = (() => {
  const WIDTH = 560, HEIGHT = 190, LEFT = 58, BOTTOM = 22, TOP = 8;
  const COLOURS = ["#00796b", "#ef6c00", "#5e35b1", "#c62828", "#0277bd", "#9e9d24", "#6d4c41", "#ad1457"];
  const STAGES = ["receive", "queue", "compute", "decode", "network"];
  const escape = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);

  const short = (value) => {
    for (const [unit, size] of [["G", 1e9], ["M", 1e6], ["k", 1e3]])
      if (value >= size) return `${+(value / size).toPrecision(3)}${unit}`;
    return `${+value.toPrecision(3)}`;
  };
  const whole = (value) =>
    value === undefined || value === null ? "" : value.toLocaleString("en", { maximumFractionDigits: value >= 100 ? 0 : 2 });

  /* The step between rules that makes about four of them. */
  const step = (most) => {
    const rough = most / 4, size = 10 ** Math.floor(Math.log10(rough));
    return size * [1, 2, 5, 10].find((factor) => rough <= factor * size);
  };

  /* series: [{name, points: [[x, y], ...]}]; stacked ones are areas on top of each other. */
  const chart = (title, unit, series, { stacked = false, dots = false } = {}) => {
    const xs = series.flatMap(({ points }) => points.map(([x]) => x));
    if (!xs.length) return "";
    const first = dots ? Math.min(...xs) : 0, last = Math.max(...xs, first + 1e-9);
    const tops = stacked
      ? series[0].points.map((_, at) => series.reduce((sum, { points }) => sum + points[at][1], 0))
      : series.flatMap(({ points }) => points.map(([, y]) => y));
    const most = Math.max(...tops, 1e-9) * 1.05;
    const x = (value) => LEFT + ((value - first) / (last - first || 1)) * (WIDTH - LEFT - 8);
    const y = (value) => TOP + (1 - Math.max(0, value) / most) * (HEIGHT - TOP - BOTTOM);
    const place = ([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`;
    let rules = "";
    for (let at = 0, by = step(most); at <= most; at += by)
      rules += `<line class="rule" x1="${LEFT}" x2="${WIDTH - 8}" y1="${y(at)}" y2="${y(at)}"/>` +
        `<text x="${LEFT - 6}" y="${y(at) + 4}" text-anchor="end">${short(at)}</text>`;
    for (let at = 0, by = step(last - first); at <= last - first; at += by)
      rules += `<text x="${x(first + at)}" y="${HEIGHT - 6}" text-anchor="${x(first + at) > WIDTH - 30 ? "end" : "middle"}">${short(at)} s</text>`;
    let floor = stacked ? series[0].points.map(([px]) => [px, 0]) : null;
    const marks = series.map(({ points }, number) => {
      const colour = COLOURS[number % COLOURS.length];
      if (stacked) {
        const top = points.map(([px, py], at) => [px, floor[at][1] + Math.max(0, py)]);
        const area = `<polygon points="${[...top, ...[...floor].reverse()].map(place).join(" ")}" fill="${colour}cc"/>`;
        floor = top;
        return area;
      }
      const line = `<polyline class="line" stroke="${colour}" points="${points.map(place).join(" ")}"/>`;
      if (!dots && points.length > 1) return line;
      return points.map((p) => `<circle r="3" fill="${colour}" cx="${x(p[0]).toFixed(1)}" cy="${y(p[1]).toFixed(1)}"/>`).join("");
    });
    const keys = series.map(({ name }, number) =>
      `<span><i style="background:${COLOURS[number % COLOURS.length]}"></i>${escape(name)}</span>`);
    return `<figure><figcaption>${escape(title)} <small>${escape(unit)}</small></figcaption>` +
      `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}">${rules}${marks.join("")}</svg>` +
      `<div class="keys">${keys.join("")}</div></figure>`;
  };

  const over = (history, name, title) => ({ name: title, points: history.map((p) => [p.end_s, p[`${name}`] ?? 0]) });

  const table = (paths) => {
    const columns = [["bases_per_s", "bases/s"], ["samples_per_s", "samples/s"], ["reads_per_s", "reads/s"],
      ["request_mb_per_s", "sent MB/s"], ["p50_ms", "p50 ms"], ["p99_ms", "p99 ms"],
      ...STAGES.map((stage) => [`${stage}_ms`, `${stage} ms`])];
    const head = ["path: arm", ...columns.map(([, title]) => title), "void blocks"];
    const rows = paths.map((row) => [`${row.path}: ${row.arm}`, ...columns.map(([name]) => whole(row[name])), `${row.void} of ${row.blocks}`]);
    const cells = (row, kind) => `<tr>${row.map((cell) => `<${kind}>${escape(cell)}</${kind}>`).join("")}</tr>`;
    return `<h2>Paths</h2><table>${cells(head, "th")}${rows.map((row) => cells(row, "td")).join("")}</table>`;
  };

  const ofBlocks = (blocks, name) => {
    const counted = blocks.filter((block) => !block.voids.length), series = new Map();
    for (const block of counted) {
      const key = `${block.path}: ${block.arm}`;
      if (!series.has(key)) series.set(key, []);
      series.get(key).push([block.started_s, block[name]]);
    }
    return [...series].map(([key, points]) => ({ name: key, points }));
  };

  const draw = (place, run) => {
    const { history, paths, blocks } = run, open = history.some((p) => p.lag_p99_ms !== undefined);
    const latencies = [["p50_ms", "p50"], ["p90_ms", "p90"], ["p99_ms", "p99"], ...(open ? [["lag_p99_ms", "schedule lag p99"]] : [])];
    const charts = [
      chart("Bases per second", "bases/s", [over(history, "bases_per_s", "bases/s")]),
      run.client_limited ? "" : chart("Latency", open ? "ms, from the intended start" : "ms", latencies.map(([name, title]) => over(history, name, title))),
      chart("Where an answer's time goes", "mean ms", STAGES.map((stage) => over(history, `${stage}_ms`, stage)), { stacked: true }),
      chart("Payload", "MB/s", [over(history, "request_mb_per_s", "sent"), over(history, "response_mb_per_s", "received")]),
      chart("Bases per second of each block", "bases/s", ofBlocks(blocks, "bases_per_s"), { dots: true }),
      chart("p99 of each block", "ms", ofBlocks(blocks, "p99_ms"), { dots: true }),
    ];
    const limit = run.client_limited ? `<p class="limit">${escape(run.client_limited)}</p>` : "";
    const notes = run.notes.map((note) => `<p class="notes">${escape(note)}</p>`).join("");
    /* Locust's own table has the paths where the charts are in a tab of its web UI. */
    const inReport = place.classList.contains("live") ? "" : "<h2>Basecalls</h2>";
    const rows = inReport && paths.length ? table(paths) : "";
    place.innerHTML = `${inReport}${limit}${notes}<div class="grid">${charts.join("")}</div>${rows}`;
  };

  return ({ document: run, figures_url: url, tab }) => {
    const place = document.getElementById("fiveways");
    if (run) {
      draw(place, run);
      return;
    }
    place.classList.add("live");
    place.hidden = true;
    const look = async () => {
      place.hidden = new URLSearchParams(location.search).get("tab") !== tab;
      if (!place.hidden) {
        const answer = await fetch(url);
        if (answer.ok) draw(place, await answer.json());
      }
    };
    let drawn = 0;
    setInterval(() => {
      const isOpen = new URLSearchParams(location.search).get("tab") === tab;
      if (isOpen === place.hidden || (isOpen && Date.now() - drawn > 2000)) {
        drawn = Date.now();
        look().catch(() => { place.hidden = true; });
      }
    }, 250);
  };
})();
