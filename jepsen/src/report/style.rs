//! How the page looks, in the light and in the dark.

/// The page's only style sheet.
pub const STYLE: &str = "
:root{color-scheme:light dark;--ground:#fbfaf8;--card:#fff;--ink:#1d2125;--soft:#59616b;--rule:#dcdfe3;
--good:#1c7348;--good-ground:#e6f3ec;--bad:#ad2a1f;--bad-ground:#fbeae8;--unsure:#8a5a00;--unsure-ground:#fbf2df;
--fault:#59616b;--idle:#b9bfc6;--epoch:#cdd5de;--odd:#b4c0cd;--m0:#2b67ad;--m1:#14796c;--m2:#7453a6;--m3:#9a6415;--m4:#8c3f66;
--data:#8fbfa5;--nobody:#c9d8a8;--servfail:#d99a2b;--silent:#c3c7cc;--gap:#c8452f;--storm:#f5efe9;--write:#7d8ea1;--on:#fff}
@media(prefers-color-scheme:dark){:root{--ground:#14171a;--card:#1b1f24;--ink:#e6e8ea;--soft:#a3abb4;--rule:#343a41;
--good:#6ccb97;--good-ground:#173024;--bad:#ff8f80;--bad-ground:#3a1d1a;--unsure:#eeb95a;--unsure-ground:#35290f;
--fault:#98a2ad;--idle:#4a515a;--epoch:#38424d;--odd:#485563;--m0:#6fa8e8;--m1:#4cbcab;--m2:#b196e0;--m3:#d9a253;--m4:#d987b0;
--data:#3f7d5c;--nobody:#6d7d45;--servfail:#c98a22;--silent:#50565e;--gap:#ef7a66;--storm:#221f1d;--write:#6d7f93;--on:#14171a}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
main{max-width:1200px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:15px;font-weight:600;color:var(--soft);margin:0 0 12px}
h2{font-size:19px;margin:44px 0 10px}
p{max-width:96ch;margin:0 0 12px}
.verdict{border-left:6px solid;border-radius:4px;padding:18px 22px;margin:0 0 22px}
.verdict strong{display:block;font-size:25px;line-height:1.3;font-weight:650}
.verdict span{display:block;margin-top:6px;color:var(--ink)}
.good{color:var(--good)}.bad{color:var(--bad)}.unsure{color:var(--unsure)}
.verdict.good{background:var(--good-ground)}.verdict.bad{background:var(--bad-ground)}.verdict.unsure{background:var(--unsure-ground)}
dl.about{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:0 0 18px}
dl.about dt{color:var(--soft)}dl.about dd{margin:0}
.replay{display:flex;gap:8px;align-items:stretch}
.replay code{flex:1;display:block;background:var(--card);border:1px solid var(--rule);border-radius:4px;padding:10px 14px;font:13px/1.5 ui-monospace,'DejaVu Sans Mono',monospace;overflow-wrap:anywhere;user-select:all}
.replay button{font:inherit;font-size:13px;padding:0 14px;border:1px solid var(--rule);border-radius:4px;background:var(--card);color:var(--ink);cursor:pointer}
.timeline{display:flex;background:var(--card);border:1px solid var(--rule);border-radius:6px;padding:14px 0 6px 14px}
.timeline .names{flex:none}.timeline .scroll{overflow-x:auto;flex:1;padding-bottom:8px}
svg{display:block;font:11px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}
svg text{fill:var(--ink)}svg .heading{font-weight:650;font-size:12px}svg .hint,svg .time,svg .phase-name{fill:var(--soft)}
svg .time{text-anchor:middle}svg .time.first{text-anchor:start}svg .tick{stroke:var(--rule);stroke-width:1}svg .rule{stroke:var(--rule)}
svg .in-bar,svg .in-gap{text-anchor:middle}svg .in-bar{fill:var(--on);font-size:10px}svg .beside{font-size:10px}
svg .in-gap{font-weight:650;fill:var(--ink)}svg .bar{rx:2px}svg .phase{fill:transparent}svg .phase.storm{fill:var(--storm)}
svg .fault{fill:var(--fault)}svg .fault.idle{fill:var(--idle)}svg .epoch{fill:var(--epoch)}svg .epoch.odd{fill:var(--odd)}
svg .epoch+.in-bar{fill:var(--ink)}svg .failover{fill:var(--gap)}svg .planned{fill:none;stroke:var(--soft);stroke-width:1.5}
svg .m0{fill:var(--m0)}svg .m1{fill:var(--m1)}svg .m2{fill:var(--m2)}svg .m3{fill:var(--m3)}svg .m4{fill:var(--m4)}
svg .writes{fill:var(--write)}svg .gap{fill:var(--gap);fill-opacity:.28;stroke:var(--gap);stroke-width:1}
svg .data{fill:var(--data)}svg .nobody{fill:var(--nobody)}svg .servfail{fill:var(--servfail)}svg .silent{fill:var(--silent)}
ul.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 20px;margin:10px 0;padding:0;font-size:13px;color:var(--soft)}
ul.legend li{display:flex;align-items:center;gap:6px}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:14px;background:var(--card);border:1px solid var(--rule)}
th,td{text-align:left;vertical-align:top;padding:8px 12px;border-top:1px solid var(--rule)}
th{font-weight:600;color:var(--soft);font-size:13px;border-top:0;white-space:nowrap}
td.number,th.number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td.long{color:var(--bad);font-weight:600}
td small{display:block;color:var(--soft);font-size:13px}
td .word{font-weight:650;white-space:nowrap}
td ul{margin:6px 0 0;padding-left:18px}td ul.counts{list-style:none;padding:0;margin:0;font-size:13px;font-variant-numeric:tabular-nums}
td ul.counts li{white-space:nowrap}td ul.counts b{font-weight:600}
footer{margin-top:40px;color:var(--soft);font-size:13px}
";
