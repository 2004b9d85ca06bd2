//! Holds a body against the schema that the OpenAPI document gives it.
//!
//! Stricter than the document: a field that it does not name is an error here, because then the
//! document would not say everything.

use serde_json::Value;

/// Checks a value against a schema of a document.
///
/// # Errors
///
/// Says where in the value what is wrong.
pub fn check(document: &Value, schema: &Value, value: &Value, place: &str) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = resolve(document, name).ok_or(format!("{place}: {name} is nowhere"))?;
        return check(document, schema, value, place);
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let fits = |choice: &&Value| check(document, choice, value, place).is_ok();
        return match choices.iter().filter(fits).count() {
            1 => Ok(()),
            count => Err(format!("{place}: {count} of the choices fit {value}")),
        };
    }
    if let Some(allowed) = schema["enum"].as_array()
        && !allowed.contains(value)
    {
        return Err(format!("{place}: {value} is none of {allowed:?}"));
    }
    if !has_type(&schema["type"], value) {
        return Err(format!(
            "{place}: {value} is not of type {}",
            schema["type"]
        ));
    }
    match value {
        Value::Object(fields) => object(document, schema, fields, place),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.try_for_each(|(index, item)| {
                check(
                    document,
                    &schema["items"],
                    item,
                    &format!("{place}[{index}]"),
                )
            })
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

/// What a reference within the document points to.
pub fn resolve<'a>(document: &'a Value, reference: &str) -> Option<&'a Value> {
    document.pointer(reference.strip_prefix('#')?)
}

fn object(
    document: &Value,
    schema: &Value,
    fields: &serde_json::Map<String, Value>,
    place: &str,
) -> Result<(), String> {
    let Some(properties) = schema["properties"].as_object() else {
        // The document of the document: any object.
        return Ok(());
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        let name = required.as_str().unwrap_or_default();
        if !fields.contains_key(name) {
            return Err(format!("{place}: {name} is required and missing"));
        }
    }
    for (name, value) in fields {
        let place = format!("{place}.{name}");
        let schema = properties
            .get(name)
            .ok_or(format!("{place}: is not documented"))?;
        check(document, schema, value, &place)?;
    }
    Ok(())
}

fn has_type(wanted: &Value, value: &Value) -> bool {
    let is = |name: &str| match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        _ => false,
    };
    match wanted {
        Value::String(name) => is(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).any(is),
        // No type is any type, but then there is something else in the schema.
        Value::Null => true,
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}
