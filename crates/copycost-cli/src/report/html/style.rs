//! The style of the page. It uses system fonts; colours are CSS variables with a value for each theme.

use crate::report::plot::ink::{DARK, LIGHT};

/// The hatch pattern for undecided results. Hidden by its size, because `display: none` disables it in some browsers.
pub(super) const HATCH: &str = r##"<svg width="0" height="0" style="position:absolute" aria-hidden="true"><defs><pattern id="hatch" width="28" height="28" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect width="9" height="28" style="fill:var(--paper)" opacity="0.6"/></pattern></defs></svg>"##;

/// The style sheet.
pub(super) fn sheet() -> String {
    format!(
        ":root{{color-scheme:light dark;{}}}\n@media (prefers-color-scheme:dark){{:root{{{}}}}}\n{RULES}",
        LIGHT.css(),
        DARK.css()
    )
}

const RULES: &str = r#"
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
main{max-width:1240px;margin:0 auto;padding:28px 20px 40px}
header{margin-bottom:20px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em;text-wrap:balance}
h2{font-size:1.2rem;line-height:1.3;margin:0 0 10px;text-wrap:balance}
h3{font-size:1rem;margin:14px 0 4px;overflow-wrap:anywhere}
p{margin:0 0 6px;overflow-wrap:anywhere}
.quiet,figcaption,.missing{color:var(--quiet)}
section{background:var(--paper);border:1px solid var(--grid);border-radius:10px;padding:18px 20px;margin:0 0 16px;min-width:0}
.verdict{border-left:5px solid var(--accent)}
.verdict p{font-size:1.06rem;max-width:75ch}
.verdict p.answer{font-size:1.3rem;font-weight:650;max-width:60ch;margin:0 0 10px}
.many{columns:2 26em;column-gap:40px}
.many p{break-inside:avoid}
.verdict p.quiet{font-size:.9rem}
.warnings{border-left:5px solid var(--bad)}
.warnings ul{margin:0;padding-left:20px}
.warnings li{overflow-wrap:anywhere}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:12px 0 0;padding:0}
.legend li{display:flex;align-items:center;gap:6px;overflow-wrap:anywhere;min-width:0}
.key{width:16px;height:16px;flex:none}
.line{width:28px;flex:none;border-top:2px solid var(--text)}
.line.dashed{border-top-style:dashed}
.line.dotted{border-top-style:dotted}
.claims{list-style:none;margin:0;padding:0}
.claims li{border-top:1px solid var(--grid);padding:8px 0}
.claims li:first-child{border-top:0;padding-top:0}
.claim .quiet{display:block;font-size:.88rem}
.finding{font-size:.95rem}
.badge{display:inline-block;min-width:6.6em;font-weight:600;white-space:nowrap}
.held{color:var(--good)}
.not-held{color:var(--bad)}
.untestable{color:var(--quiet)}
figure{margin:0}
.panels{display:grid;gap:20px 32px;align-items:start}
.one{grid-template-columns:minmax(0,500px)}
.two{grid-template-columns:repeat(auto-fill,minmax(min(100%,400px),1fr));max-width:940px}
.three{grid-template-columns:repeat(auto-fill,minmax(min(100%,345px),1fr))}
.panel{min-width:0;overflow-x:auto}
.plot{display:block;width:100%;height:auto}
.flame text{font-size:11px;fill:var(--text);pointer-events:none}
.flame rect{stroke:var(--paper);stroke-width:.6}
.plot text{font-family:inherit;font-variant-numeric:tabular-nums}
figcaption{margin:12px 0 8px;font-size:.93rem;max-width:85ch}
figcaption p{margin:0 0 3px}
summary{cursor:pointer;color:var(--accent);padding:4px 0}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;font-size:.9rem;font-variant-numeric:tabular-nums;margin-top:6px}
th,td{padding:4px 12px 4px 0;text-align:left;white-space:nowrap;border-bottom:1px solid var(--grid)}
th{color:var(--quiet);font-weight:600}
.number{text-align:right;padding-left:8px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,300px),1fr));gap:6px 28px;margin:0}
dl div{min-width:0}
dt{color:var(--quiet);font-size:.85rem}
dd{margin:0;overflow-wrap:anywhere}
pre{margin:0 0 8px;padding:10px 12px;background:var(--page);border-radius:6px;font-size:.9rem}
code{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.92em}
footer{padding:0 4px}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
@media (min-width:900px){.single{display:grid;grid-template-columns:500px minmax(0,1fr);gap:8px 36px}.single details{grid-column:1/-1}}
@media (max-width:600px){main{padding:18px 10px}section{padding:14px 12px}h1{font-size:1.5rem}}
@media print{body{background:none}section{break-inside:avoid;border:0;padding:8px 0}}
"#;
