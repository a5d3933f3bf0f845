//! The status page: plain HTML without scripts, made from the same report as the JSON.

use super::report::{Cells, LaneStatus, PartitionStatus, SourceStatus, StatusReport, TableStatus};

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222;background:#fff}\
    table{border-collapse:collapse;margin:1em 0}th,td{padding:.25em .8em;border-bottom:1px solid #ccc;text-align:left}\
    td.n{text-align:right;font-variant-numeric:tabular-nums}.bad{color:#a00}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}.bad{color:#f77}}";

/// The page; reloads itself every five seconds.
pub fn render(report: &StatusReport) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta http-equiv=\"refresh\" content=\"5\">\
         <title>lastword {pipeline}</title><style>{STYLE}</style></head><body><h1>{pipeline}</h1>\
         <p>lastword {version}, {sink}, {at}</p>",
        pipeline = escape(&report.pipeline),
        version = escape(&report.version),
        sink = escape(&report.sink),
        at = escape(&report.at),
    );
    match report.ready {
        Some(true) => page.push_str("<p>ready</p>"),
        _ => page.push_str(&format!("<p class=\"bad\">not ready: {}</p>", escape(&report.reasons.join("; ")))),
    }
    if let Some(number) = report.quarantine_open.filter(|number| *number > 0) {
        page.push_str(&format!("<p class=\"bad\">{number} record(s) in quarantine</p>"));
    }
    let cells = report.partitions.iter().map(PartitionStatus::cells);
    table(&mut page, "Partitions", &PartitionStatus::HEADER, 1..7, cells);
    let cells = report.tables.iter().map(TableStatus::cells);
    table(&mut page, "Tables", &TableStatus::HEADER, 2..6, cells);
    if !report.sources.is_empty() {
        let cells = report.sources.iter().map(SourceStatus::cells);
        table(&mut page, "Sources", &SourceStatus::HEADER, 2..4, cells);
    }
    let cells = report.lanes.iter().map(LaneStatus::cells);
    table(&mut page, "Lanes", &LaneStatus::HEADER, 2..3, cells);
    page.push_str("<p><a href=\"/status\">JSON</a> <a href=\"/metrics\">metrics</a></p></body></html>\n");
    page
}

fn table(
    page: &mut String,
    title: &str,
    header: &[&str],
    numbers: std::ops::Range<usize>,
    rows: impl Iterator<Item = Cells>,
) {
    page.push_str(&format!("<h2>{title}</h2><table><tr>"));
    header.iter().for_each(|name| page.push_str(&format!("<th>{name}</th>")));
    page.push_str("</tr>");
    for row in rows {
        page.push_str("<tr>");
        for (column, cell) in row.iter().enumerate() {
            let class = if numbers.contains(&column) { " class=\"n\"" } else { "" };
            page.push_str(&format!("<td{class}>{}</td>", escape(cell.as_deref().unwrap_or("–"))));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
}

/// Text from outside as HTML text.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::report::tests::sample;

    #[test]
    fn hostile_names_stay_text() {
        let page = render(&sample());
        assert!(page.contains("<td>public.&lt;b&gt;"), "{page}");
        assert!(!page.contains("<b>"), "{page}");
        assert!(page.contains("<td class=\"n\">59</td>") && page.contains("not ready: t[1] is not claimed"), "{page}");
        assert_eq!(escape("<'\"&>"), "&lt;&#39;&quot;&amp;&gt;");
    }
}
