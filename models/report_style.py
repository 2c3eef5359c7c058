"""The look of the report, for light and dark."""

from typing import Final

STYLE: Final = """
:root { color-scheme: light dark;
  --paper: #fbfbfa; --ink: #1c1d20; --quiet: #5d626b; --line: #d9dbdf; --accent: #b0341f; --field: #f1f0ed;
  --good: #1a6b3c; --bad: #a8281a;
  --series-0: #6b7280; --series-1: #2f6fb5; --series-2: #7a5ba8; --series-3: #2b8a6e; --series-4: #a9781b;
  --series-5: #b0558a; --series-6: #4a8fa8; --series-7: #7d8a2e; --series-8: #8c6a55; --series-9: #4f5fb0; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #16181b; --ink: #e7e8ea; --quiet: #a2a8b2; --line: #363a41; --accent: #ff8a70; --field: #20242a;
  --good: #77d19a; --bad: #ff9384;
  --series-0: #9aa1ad; --series-1: #74b0ee; --series-2: #b79be6; --series-3: #63c9a8; --series-4: #e0b354;
  --series-5: #ea94c4; --series-6: #86c8e0; --series-7: #bccb66; --series-8: #c9a78f; --series-9: #98a6f2; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 0 0 1rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .4rem; padding-top: 1rem; border-top: 2px solid var(--ink); }
h3 { font-size: 1.02rem; margin: 1.9rem 0 .5rem; }
p, ul { max-width: 46rem; margin: .4rem 0 .9rem; }
ul { padding-left: 1.2rem; } li { margin: .25rem 0; }
dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .7rem 1.6rem; margin: 0; }
dt { color: var(--quiet); font-size: .8rem; } dd { margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; margin: .6rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .38rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; text-align: right; }
th:first-child { text-align: left; padding-left: .5rem; min-width: 9rem; } th { font-weight: 500; }
thead th { color: var(--quiet); font-size: .8rem; vertical-align: bottom; border-bottom-color: var(--quiet); }
tr.reference > * { background: var(--field); }
td small, th small { display: block; color: var(--quiet); font-size: .76rem; font-weight: 400; }
td small { white-space: nowrap; }
.better { color: var(--good); } .worse { color: var(--bad); }
figure { margin: 1.2rem 0 1.4rem; overflow-x: auto; }
figure svg { display: block; width: 100%; min-width: 30rem; max-width: 50rem; height: auto; }
figcaption { color: var(--quiet); font-size: .82rem; margin-top: .3rem; }
details { border-bottom: 1px solid var(--line); padding: .45rem 0; } summary { cursor: pointer; }
@media print { details { break-inside: avoid; } }
"""
