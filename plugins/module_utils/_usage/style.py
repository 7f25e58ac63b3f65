# Copyright: (c) 2026, the tenantry.kube authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The style of the page, and the script that sorts and filters its tables. Constants."""

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--bg:#f7f7f5;--card:#fff;--ink:#1b1f24;--soft:#59616b;--rule:#e2e4e3;--head:#f1f2f0;
--track:#e6e9e8;--promised:#c3d9d8;--requested:#74abaa;--used:#10676b;--limit:#a3321f;--line:#10676b;--line2:#8fb5b4;
--critical:#a02517;--critical-bg:#fbeae7;--warning:#7a4b00;--warning-bg:#fbf1dd;--note:#2c5282;--note-bg:#e8f0f8;
--good:#22663b;--link:#0b5f63}
@media(prefers-color-scheme:dark){:root{--bg:#111416;--card:#191d20;--ink:#e7eaec;--soft:#a3adb5;--rule:#2b3136;
--head:#20262a;--track:#2a3035;--promised:#31484b;--requested:#3f7d80;--used:#71d0d0;--limit:#ff9a86;--line:#71d0d0;
--line2:#4b7c7e;--critical:#ffa394;--critical-bg:#3a1d19;--warning:#f0c172;--warning-bg:#352a14;--note:#9cc4f0;
--note-bg:#1b2a3a;--good:#86d6a2;--link:#7fd6d6}}
*{box-sizing:border-box}
html{font:clamp(14px,8px + .45vw,26px)/1.45 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
body{margin:0;background:var(--bg);color:var(--ink);font-variant-numeric:tabular-nums;-webkit-text-size-adjust:100%}
main,header,footer{max-width:140rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:1.75rem;display:flex;flex-wrap:wrap;gap:.25rem 2rem;align-items:baseline;
justify-content:space-between}
h1{font-size:1.6rem;font-weight:650;letter-spacing:-.015em;margin:0;line-height:1.2}
h2{font-size:1.1rem;font-weight:650;letter-spacing:-.005em;margin:0}
p{margin:.25rem 0}
a{color:var(--link)}
.soft,small,.unit{color:var(--soft)}
small{font-size:.84em}
.unit{font-size:.86em}
nav{display:flex;flex-wrap:wrap;gap:.15rem 1.1rem;font-size:.92rem;width:100%;margin-top:.5rem}
section{background:var(--card);border:1px solid var(--rule);border-radius:10px;margin:1rem 0;overflow:hidden;
content-visibility:auto;contain-intrinsic-size:auto 40rem}
.title{display:flex;flex-wrap:wrap;gap:.4rem 1rem;align-items:baseline;padding:.9rem 1.1rem .7rem}
.title>*{margin:0}
.title .soft{font-size:.88rem;flex:1 1 16rem}
.numbers{display:grid;grid-template-columns:repeat(auto-fit,minmax(13.5rem,1fr));gap:1px;background:var(--rule)}
.numbers>div{background:var(--card);padding:1rem 1.1rem}
.numbers strong{display:block;font-size:1.55rem;font-weight:600;letter-spacing:-.02em;line-height:1.25}
.numbers .bar{margin:.45rem 0 .3rem}
.label{font-size:.84rem;color:var(--soft)}
.bar{display:block;width:100%;height:.62rem}
.line{display:block;width:100%;min-width:5.5rem;max-width:9rem;height:1.7rem}
.track{fill:var(--track)}.promised{fill:var(--promised)}.requested{fill:var(--requested)}.used{fill:var(--used)}
.limit{fill:var(--limit)}
.line path{fill:none;stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round;stroke:var(--line)}
.line .second{stroke:var(--line2);stroke-width:1.2}
.key{display:flex;flex-wrap:wrap;gap:.2rem 1rem;font-size:.84rem;color:var(--soft);padding:0 1.1rem .8rem}
.key svg{width:.8rem;height:.8rem;margin-right:.35rem;vertical-align:-.08rem}
table{width:100%;border-collapse:collapse;font-size:.93rem}
caption{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
th,td{text-align:left;padding:.5rem .55rem;vertical-align:top;border-top:1px solid var(--rule)}
th:first-child,td:first-child{padding-left:1.1rem}
th:last-child,td:last-child{padding-right:1.1rem}
thead th{background:var(--head);font-size:.82rem;font-weight:600;color:var(--soft);vertical-align:bottom;
position:sticky;top:0}
thead button{all:unset;cursor:pointer;color:inherit}
thead button:focus-visible,a:focus-visible,input:focus-visible{outline:2px solid var(--link);outline-offset:2px}
th[aria-sort=ascending] button::after{content:" \\2191"}
th[aria-sort=descending] button::after{content:" \\2193"}
tbody th{font-weight:600;overflow-wrap:anywhere}
tbody th small{display:block;font-weight:400}
tbody tr:hover>*{background:var(--head)}
tfoot td,tfoot th{font-weight:600;background:var(--head)}
.right{text-align:right}
.meter{min-width:8.5rem}
.meter small,td small{display:block;margin-top:.2rem}
.level{display:inline-block;border-radius:99px;padding:.05rem .6rem;font-size:.82rem;font-weight:600;white-space:nowrap}
.critical{color:var(--critical);background:var(--critical-bg)}
.warning{color:var(--warning);background:var(--warning-bg)}
.note{color:var(--note);background:var(--note-bg)}
.good{color:var(--good)}
.text{overflow-wrap:anywhere}
.gap{border-color:var(--critical);background:var(--critical-bg);color:var(--critical);padding:.8rem 1.1rem}
details{border-top:1px solid var(--rule)}
summary{cursor:pointer;padding:.6rem 1.1rem;color:var(--link);font-size:.93rem}
.none{padding:.2rem 1.1rem 1rem;color:var(--soft)}
input[type=search]{font:inherit;font-size:.92rem;color:inherit;background:var(--bg);border:1px solid var(--soft);
border-radius:6px;padding:.3rem .6rem;width:15rem;max-width:100%}
footer{padding-bottom:3rem;font-size:.88rem;color:var(--soft)}
footer dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}
footer dt{font-weight:600;color:var(--ink)}
footer dd{margin:0;max-width:75ch}
@media(max-width:60rem){
main,header,footer{padding:0 .75rem}
header{padding-top:1.1rem}
table,tbody,tfoot,tr,th,td{display:block}
thead{display:none}
tr{border-top:1px solid var(--rule);padding:.6rem 1rem}
th,td,th:first-child,td:first-child,th:last-child,td:last-child{border:0;padding:.16rem 0;text-align:left}
tbody th{font-size:1rem}
.right{text-align:left}
td[data-label]{display:grid;grid-template-columns:7.2rem minmax(0,1fr);gap:.6rem}
td[data-label]::before{content:attr(data-label);color:var(--soft);font-size:.84rem}
td:empty{display:none}
footer dl{display:block}footer dd{margin-bottom:.5rem}
}
@media(min-width:60.01rem){section{overflow:clip}}
@media print{
:root{--bg:#fff;--card:#fff;--ink:#000;--soft:#444}
html{font-size:9pt}section{border-color:#bbb;break-inside:auto;content-visibility:visible}tr{break-inside:avoid}
nav,input{display:none}thead{display:table-header-group}thead th{position:static}
*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
}
"""

SCRIPT = """
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = row => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)], [m, n] = [Number(x), Number(y)];
        return x !== "" && y !== "" && !isNaN(m) && !isNaN(n) ? m - n : String(x).localeCompare(String(y));
      };
      body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
    });
  });
}
for (const input of document.querySelectorAll("input[type=search]")) {
  const rows = [...document.getElementById(input.dataset.table).tBodies[0].rows];
  const texts = rows.map(row => row.textContent.toLowerCase());
  input.hidden = false;
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\\s+/);
    rows.forEach((row, at) => { row.hidden = !words.every(word => texts[at].includes(word)); });
  });
}
"""
