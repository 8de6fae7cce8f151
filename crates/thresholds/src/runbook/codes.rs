//! Tables of error codes: what each means, and what it asks of people.

use std::collections::BTreeMap;

use crate::{catalogue::Catalogue, expr::Context};

/// The codes of every family, each with an anchor that a firing alert leads to.
pub(super) fn tables(catalogue: &Catalogue, context: &Context<'_>) -> Result<String, String> {
    Ok([xids(catalogue, context)?, others(catalogue, context)?].concat())
}

fn xids(catalogue: &Catalogue, context: &Context<'_>) -> Result<String, String> {
    let mut rows = BTreeMap::new();
    for entry in &catalogue.xids {
        let action = context.expand(&entry.action)?;
        for code in &entry.codes {
            let text = naming::xid_text(u64::from(*code));
            rows.insert(
                *code,
                format!(
                    "| <a id=\"code-{code}\"></a>{code} | {text} | {} | {} | {} | {action} |\n",
                    entry.severity.name(),
                    entry.blame,
                    entry.bucket
                ),
            );
        }
    }
    let rows: String = rows.into_values().collect();
    Ok(format!(
        "\n## XID codes\n\nCodes, texts and immediate actions are those of NVIDIA's public lists; the advice is ours. One that is not here is a \
         ticket: keep the kernel log, restart the engine, contact NVIDIA, and treat a repeat as a fault of the device.\n\n\
         | code | text | severity | mostly | NVIDIA's immediate action | what to do |\n|---|---|---|---|---|---|\n{rows}"
    ))
}

fn others(catalogue: &Catalogue, context: &Context<'_>) -> Result<String, String> {
    let row = |event: &crate::model::ErrorCode| {
        let (family, kind, code, meaning) = (event.family, &event.kind, &event.code, &event.meaning);
        let action = context.expand(&event.action)?;
        Ok(format!("| {family} | {kind} | <a id=\"code-{code}\"></a>{code} | {meaning} | {action} |\n"))
    };
    let rows: String = catalogue.events.iter().map(row).collect::<Result<_, String>>()?;
    Ok(format!(
        "\n## Other codes\n\nAs drivers and libraries name them, or nvml.h the event.\n\n\
         | family | kind | code | meaning | what to do |\n|---|---|---|---|---|\n{rows}"
    ))
}
