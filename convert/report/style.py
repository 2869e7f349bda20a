"""How the page looks: light and dark, wide and narrow, on screen and on paper.

Colours are of the Okabe-Ito set, which people with any colour vision can tell apart, made darker
or lighter until text in them has a contrast of 4.5 to 1; no colour alone carries a meaning.
Source: https://jfly.uni-koeln.de/color/
"""

from typing import Final

STYLE: Final = """
:root{color-scheme:light dark;--paper:#fff;--sheet:#f5f7f9;--ink:#1c2126;--soft:#57606a;
--line:#d5dbe1;--good:#0068a6;--bad:#b34a00;--right:0,114,178;--wrong:213,94,0;--fade:.75}
@media screen and (prefers-color-scheme:dark){:root{--paper:#14181c;--sheet:#1d2329;--ink:#e8ebee;
--soft:#a0abb5;--line:#39424b;--good:#5cb8f0;--bad:#f5a04a;--right:86,180,233;--wrong:240,140,50;
--fade:.5}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1.5rem 1rem 3rem;max-width:72rem;background:var(--paper);
color:var(--ink);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;
font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:.2rem 0 .6rem}
h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
h3{font-size:1rem;margin:0 0 .3rem}
p{margin:.3rem 0;max-width:46rem}
.kicker,.note,caption{color:var(--soft)}
.outcome{border-left:5px solid var(--good);background:var(--sheet);padding:.8rem 1rem;
border-radius:0 6px 6px 0}
.outcome.bad{border-color:var(--bad)}
.outcome p{font-size:1.05rem;max-width:60rem}
.keys{display:grid;grid-template-columns:repeat(auto-fit,minmax(10.5rem,1fr));gap:.7rem;
margin:1rem 0;padding:0}
.keys div{background:var(--sheet);border-radius:6px;padding:.6rem .8rem}
.keys dt{color:var(--soft);font-size:.85rem}
.keys dd{margin:0}
.keys dd.figure{font-size:1.45rem;font-weight:600;line-height:1.3}
.keys dd.more{font-size:.85rem;color:var(--soft)}
.charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));
gap:1.5rem 2rem;align-items:start}
figure{margin:0;min-width:0;max-width:34rem}
figcaption{margin-bottom:.3rem}
svg{display:block;width:100%;height:auto;font:12px system-ui,"Segoe UI",Roboto,"DejaVu Sans",
sans-serif}
svg text{fill:var(--ink)}
svg .tick,svg .name{fill:var(--soft);font-size:11.5px}
svg .grid{stroke:var(--line);stroke-width:.7}
svg .axis{stroke:var(--soft)}
svg .front{fill:none;stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 3}
svg .rule{stroke:var(--bad);stroke-dasharray:6 4;stroke-width:1.3}
svg .rule.strong{stroke:var(--ink);stroke-dasharray:none}
svg .beyond{fill:var(--bad);opacity:.1}
svg .halo{paint-order:stroke;stroke:var(--paper);stroke-width:3px;stroke-linejoin:round}
svg .mark{stroke:var(--soft);stroke-width:1.6;fill:var(--paper)}
svg .mark.good{fill:var(--good);stroke:var(--good)}
svg .mark.bad{fill:var(--paper);stroke:var(--bad);stroke-width:2.2}
svg .mark.strong{fill:var(--ink);stroke:var(--ink)}
svg .mark.dense{fill:var(--soft);stroke:none;r:2.5px}
svg .whisker{stroke:var(--soft);stroke-width:1.4}
svg .whisker.good{stroke:var(--good)}svg .whisker.bad{stroke:var(--bad)}
svg .whisker.strong{stroke:var(--ink)}
svg text.good{fill:var(--good);font-weight:600}svg text.bad{fill:var(--bad)}
svg .bar{fill:var(--soft);opacity:.75}
svg .bar.good{fill:var(--good);opacity:1}svg .bar.bad{fill:var(--bad);opacity:1}
.scroll{overflow-x:auto;margin:.8rem 0}
table{border-collapse:collapse;overflow-wrap:break-word;font-size:.88rem;width:100%}
caption{text-align:left;padding-bottom:.4rem;font-size:.88rem}
th,td{text-align:left;vertical-align:top;padding:.35rem .4rem;
border-bottom:1px solid var(--line)}
thead th{border-bottom:2px solid var(--line);white-space:nowrap;overflow-wrap:normal}
.number{text-align:right;white-space:nowrap}
td p{margin:.1rem 0 0;color:var(--soft);font-size:.95em}
small{display:block;color:var(--soft);font-size:.85em}
.verdict{font-weight:600}
.verdict.good{color:var(--good)}.verdict.bad{color:var(--bad)}.verdict.faint{color:var(--soft)}
.tried{min-width:54rem}.tried td:nth-child(2),.tried td:last-child{min-width:13rem;
overflow-wrap:anywhere}
.plain{min-width:34rem}
@media screen and (max-width:46rem){.tried{min-width:0}.tried thead{display:none}
.tried tr{display:block;border-bottom:1px solid var(--line);padding:.5rem 0}
.tried th,.tried td{display:inline-block;border:0;padding:.1rem .9rem .1rem 0;text-align:left;
vertical-align:top}.tried th{padding-right:.4rem}
.tried td:nth-child(2){width:calc(100% - 2.5rem)}.tried td:last-child{display:block}
.tried .number::before{content:attr(data-label);display:block;color:var(--soft);font-size:.85em}
.tried th.number::before{content:none}.tried .none{display:none}}
code{font:.85em ui-monospace,"DejaVu Sans Mono",monospace;word-break:break-all}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(30rem,100%),1fr));gap:1rem}
.pair.many{display:block}
.heat{width:auto;font-size:.75rem;overflow-wrap:normal}
.heat th,.heat td{border:1px solid var(--paper);padding:.15rem .2rem;min-width:1.7rem}
.heat tbody td{text-align:center;vertical-align:middle;background:var(--sheet);height:1.9rem}
.heat tbody th{font-weight:400;white-space:nowrap;text-align:right;vertical-align:middle}
.heat thead th{font-weight:400;vertical-align:bottom;text-align:left;border-bottom:0}
.heat thead td{color:var(--soft);vertical-align:bottom;text-align:right;border:0}
.heat thead span{writing-mode:vertical-rl;transform:rotate(180deg)}
.heat small{display:inline;color:inherit;font-size:.85em;margin-left:.15em}
.heat .changed{outline:2px solid var(--ink);outline-offset:-2px;font-weight:600}
"""
"""Without the shades of the heat tables, which follow from their number."""


def shade(steps: int) -> str:
    """Return the rules for the cells of heat tables: ``r`` right and ``w`` wrong, in steps."""
    return "".join(
        f".heat tbody .{kind}{step}{{background:rgba(var(--{colour}),"
        f"calc({step / steps:.2f}*var(--fade)))}}"
        for kind, colour in (("r", "right"), ("w", "wrong"))
        for step in range(1, steps + 1)
    )


PRINT: Final = """
@media print{body{font-size:10pt;max-width:none;padding:0}.scroll{overflow:visible}
.tried,.plain{min-width:0;font-size:7.5pt}figure,tr,.heat,.keys div{break-inside:avoid}
h2{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}
.charts{grid-template-columns:1fr 1fr}}
"""
