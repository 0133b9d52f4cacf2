/** The pages' style sheet. Rows are grids whose first cell spans the whole row, so that all of it opens the details. */
export const STYLE = `
:root{color-scheme:light dark;--bg:#fcfcfa;--ink:#1d2226;--soft:#5d666e;--line:#e3e5e0;--tint:#f3f4f0;--mark:#0a6b5a;
--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Liberation Sans",sans-serif;
--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
@media(prefers-color-scheme:dark){:root{--bg:#15181b;--ink:#e3e6e8;--soft:#9aa4ad;--line:#2b3136;--tint:#1c2024;--mark:#74d3bb}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:2.375rem}
body{margin:0;background:var(--bg);color:var(--ink);font:1rem/1.5 var(--sans)}
header,main,footer{max-width:66rem;margin:0 auto;padding:0 1.5rem}
header{padding-top:2.5rem}
footer{padding-top:2rem;padding-bottom:3rem;color:var(--soft);font-size:.875rem}
a{color:var(--mark);text-decoration-thickness:1px;text-underline-offset:.2em;text-decoration-color:color-mix(in srgb,currentColor 35%,transparent)}
a:hover{text-decoration-color:currentColor}
:focus-visible{outline:2px solid var(--mark);outline-offset:2px;border-radius:3px}
h1{margin:.125rem 0 .25rem;font-size:2.25rem;line-height:1.2;font-weight:650;letter-spacing:-.022em;overflow-wrap:anywhere}
h2{margin:2.5rem 0 .75rem;font-size:1.125rem;font-weight:650;letter-spacing:-.008em}
h3{margin:0 0 .25rem;font-size:.9375rem;font-weight:650}
nav,.facts,.note{color:var(--soft);font-size:.9375rem;overflow-wrap:anywhere}
.facts,.note{margin:0}
.note{margin:0 0 1rem;max-width:46rem}
.facts span{white-space:nowrap}
.facts span:not(:last-child)::after{content:"·";margin:0 .5em}
code,var{font-family:var(--mono);font-size:.8125rem;font-style:normal}
code var{font-size:inherit;color:var(--mark)}
.use{margin:1.75rem 0 2.25rem;border:1px solid var(--line);border-radius:8px;background:var(--tint);padding:.875rem 1rem}
.use h2{margin:0;font-size:.9375rem}
.use .note{margin:.125rem 0 .5rem;font-size:.875rem}
.bar{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;justify-content:space-between}
.tools{border:0;margin:0;padding:0;min-width:0}
.tools label{display:inline-block;padding:.125rem .25rem;font-size:.875rem;color:var(--soft);cursor:pointer}
.tools label+label{margin-left:.5rem}
.tools input{accent-color:var(--mark);margin:0 .375rem 0 0;vertical-align:-.08em}
.tools label:has(:checked){color:var(--ink)}
.lines p{display:flex;gap:.75rem;align-items:center;margin:.375rem 0 0}
.lines code{flex:1;min-width:0;overflow-wrap:anywhere}
.lines b{width:3.5rem;font-size:.8125rem;font-weight:400;color:var(--soft)}
.js .lines b,.js .lines p{display:none}
.js[data-tool=pixi] .lines p:nth-of-type(1),.js[data-tool=mamba] .lines p:nth-of-type(2),.js[data-tool=conda] .lines p:nth-of-type(3){display:flex}
button{font:inherit;color:inherit;background:none;border:0;padding:0;cursor:pointer}
.copy{flex:none;padding:.125rem .625rem;border:1px solid var(--line);border-radius:5px;background:var(--bg);font-size:.8125rem}
.copy:hover{border-color:var(--soft)}
.live{display:none}
.js .live{display:block}
.js .live.copy{display:inline-block}
.away{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
.find{margin:0 0 .5rem}
.js .find{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:center}
.find input{flex:1 1 16rem;min-width:0;font:inherit;color:inherit;background:var(--bg);border:1px solid var(--line);border-radius:8px;padding:.5rem .75rem}
.find input:focus{outline:2px solid var(--mark);outline-offset:-1px;border-color:transparent}
.find input::placeholder{color:var(--soft)}
.find output:empty{display:none}
.find output{color:var(--soft);font-size:.875rem;font-variant-numeric:tabular-nums}
table{width:100%;border-collapse:collapse;font-variant-numeric:tabular-nums}
th{font-size:.8125rem;font-weight:500;color:var(--soft);text-align:left;padding:.5rem 0}
.small td,.small th{padding:.5rem 1rem .5rem 0;border-bottom:1px solid var(--line);text-align:left}
.small .n{text-align:right}
.small .n:last-child{padding-right:0}
.small td,.small th[scope=row]{font-size:.9375rem}
.small td{color:var(--soft)}
.list,.list thead,.list tbody{display:block}
.list{--cols:9rem 5.5rem 6.5rem 3.5rem;--reach:28.5rem;--row:2.5rem;width:auto;margin:0 -1rem}
.list.names{--cols:9rem 13rem;--reach:24rem;--row:3.9rem}
.list.links{--cols:9rem 5.5rem 6.5rem 4.5rem;--reach:29.5rem}
.list tr{display:grid;grid-template-columns:minmax(0,1fr) var(--cols);column-gap:1rem;margin:0 1rem;border-bottom:1px solid var(--line)}
.list tbody tr{margin:0;padding:0 1rem;border-color:transparent;background:linear-gradient(var(--line),var(--line)) 1rem 100%/calc(100% - 2rem) 1px no-repeat}
.list thead{position:sticky;top:0;z-index:2;background:var(--bg)}
.list tbody{content-visibility:auto;contain-intrinsic-size:auto calc(var(--rows,100)*var(--row))}
.list .n,.list:not(.names) td:nth-child(n+3){text-align:right}
.list th button{margin:-.25rem 0;padding:.25rem 0;font-weight:500}
.list th button:hover{color:var(--ink)}
.list th[aria-sort]:not([aria-sort=none]) button{color:var(--ink)}
.list th button::after{content:"↓";content:"↓"/"";margin-left:.25em;visibility:hidden}
.list .n button::after{content:none}
.list .n button::before{content:"↓";content:"↓"/"";margin-right:.25em;visibility:hidden}
.list th[aria-sort=ascending]:not(.n) button::after,.list .n[aria-sort=ascending] button::before{content:"↑";content:"↑"/"";visibility:visible}
.list th[aria-sort=descending]:not(.n) button::after,.list .n[aria-sort=descending] button::before{visibility:visible}
.list td{grid-row:1;padding:.5rem 0;min-width:0;overflow-wrap:anywhere;pointer-events:none;font-size:.9375rem;color:var(--soft)}
.list tr:has([open])>td:nth-child(n+2){white-space:nowrap;overflow:hidden;text-overflow:ellipsis}
.list td:nth-child(2){color:var(--ink)}
.list td:first-child{grid-column:1/-1;padding:0;pointer-events:auto;color:var(--ink)}
.list td:nth-child(2){grid-column:2}.list td:nth-child(3){grid-column:3}.list td:nth-child(4){grid-column:4}.list td:nth-child(5){grid-column:5}
.list td:first-child>a,.list td:first-child>span,.list summary{display:block;padding:.5rem var(--reach) .5rem 0}
.list summary{position:relative;padding-left:1.125rem;font-weight:550;cursor:pointer;list-style:none}
.list summary::-webkit-details-marker{display:none}
.list tbody tr:hover,.list tbody tr:has(>td>[open]){background-color:var(--tint)}
.list td:nth-child(n+2) a{pointer-events:auto;position:relative}
.list td:first-child>details>summary::before,.old>summary::before{content:"";position:absolute;left:.0625rem;top:.875rem;width:.4375rem;height:.4375rem;border:solid var(--soft);border-width:0 1.5px 1.5px 0;transform:rotate(-45deg);transform-origin:60% 60%}
.list .old>summary::before{top:.5625rem;width:.375rem;height:.375rem}
.list td:first-child>[open]>summary::before,.old[open]>summary::before{transform:rotate(45deg)}
.list summary span{display:block;font-weight:400;font-size:.875rem;color:var(--soft)}
.more{padding:.25rem 0 1.25rem 1.125rem}
.more .lines{margin:0 0 1rem;padding:.375rem .625rem;border:1px solid var(--line);border-radius:6px;background:var(--bg)}
.more .lines p{margin:0}
.more .lines .note{display:none}
.more ul{list-style:none;margin:0;padding:0}
.more>p{margin:0 0 .75rem;font-size:.875rem;color:var(--soft)}
.files>li{margin:0 0 .875rem}
.files>li>a{font-size:.875rem}
.meta{color:var(--soft);font-size:.8125rem}
.meta span{display:inline-block;overflow-wrap:anywhere}
.meta span:not(:last-child)::after{content:"·";margin:0 .45em}
.deps{display:flex;flex-wrap:wrap;gap:.25rem .375rem;margin:.375rem 0!important}
.deps li{padding:.0625rem .4375rem;border:1px solid var(--line);border-radius:4px;background:var(--bg);font:.8125rem/1.5 var(--mono)}
.deps a{text-decoration:none}
.deps a:hover{text-decoration:underline}
.sum{display:block;color:var(--soft);font-size:.75rem;overflow-wrap:anywhere}
.list .old>summary{padding:.1875rem 0 .1875rem 1.125rem;font-size:.875rem;font-weight:500}
.old .files{padding:.375rem 0 .25rem 1.125rem}
.builds{display:flex;flex-wrap:wrap;gap:.125rem 1rem;font-size:.875rem}
@media(max-width:44rem){
header,main,footer{padding-left:1rem;padding-right:1rem}
header{padding-top:1.5rem}
h1{font-size:1.75rem}
.list,.list.links{--cols:auto auto;--reach:11rem}
.list.names{--cols:auto;--reach:10rem}
.list thead tr{display:flex;flex-wrap:wrap;gap:0 .875rem}
.list:not(.names,.links) th:nth-child(5),.links th:nth-child(3),.names th:nth-child(3){display:none}
.list,.list.names,.list.links{--row:3.25rem}
.list tbody tr{grid-template-rows:auto 1fr;column-gap:.75rem}
.list td:first-child{grid-row:1/3}
.list td:first-child>a,.list td:first-child>span,.list summary{min-height:3.25rem}
.list td:nth-child(n+2){grid-column:2/-1;text-align:right;max-width:10rem;justify-self:end}
.list td:nth-child(2){padding-bottom:0}
.list td:nth-child(n+3){grid-row:2;padding-top:0;font-size:.8125rem}
.list:not(.names) td:nth-child(3){grid-column:2/3}
.list:not(.names) td:nth-child(4){grid-column:3/4}
.list:not(.names,.links) td:nth-child(5),.links td:nth-child(3){display:none}
.list.links td:nth-child(4){grid-column:2/3}
.list.links td:nth-child(5){grid-column:3/4}
.more{padding-left:.25rem}
.list .old>summary{min-height:0}
.old .files{padding-left:.5rem}
.small .wide{display:none}
.small .n:nth-last-child(2){padding-right:0}
}
@media(forced-colors:active){.list tbody tr:hover{background:none}}
@media print{.find,.copy,.tools{display:none!important}}
`;
