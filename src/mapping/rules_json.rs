//! The rules as JSON, for programs that read them: every list in its order, names in the notation
//! of the rules file.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::kind::Kind;
use super::path::Path;
use super::rules::{Rule, Rules, Section, normal};

#[derive(Serialize)]
struct RulesJson<'a> {
    settings: Vec<Setting<'a>>,
    ignore: Vec<String>,
    sections: Vec<SectionJson<'a>>,
}

#[derive(Serialize)]
struct Setting<'a> {
    name: String,
    #[serde(flatten)]
    kind: KindJson<'a>,
}

#[derive(Serialize)]
struct SectionJson<'a> {
    name: &'a str,
    provider_from: Vec<String>,
    placeholders: Vec<&'a str>,
    providers: Vec<Provider<'a>>,
    other: Other<'a>,
}

#[derive(Serialize)]
struct Provider<'a> {
    name: &'a str,
    aliases: Vec<&'a str>,
    fields: Vec<FieldJson<'a>>,
}

#[derive(Serialize)]
struct Other<'a> {
    fields: Vec<FieldJson<'a>>,
    warn: bool,
}

#[derive(Serialize)]
struct FieldJson<'a> {
    field: String,
    from: Vec<String>,
    #[serde(flatten)]
    kind: Option<KindJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    default: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct KindJson<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    min: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<&'a [String]>,
}

impl Serialize for Rules {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let settings = self.settings.iter().map(|(name, kind)| Setting {
            name: name.to_string(),
            kind: KindJson::of(kind),
        });
        let rules = RulesJson {
            settings: settings.collect(),
            ignore: names(&self.ignored),
            sections: self.sections.iter().map(SectionJson::of).collect(),
        };
        rules.serialize(serializer)
    }
}

impl<'a> SectionJson<'a> {
    fn of(section: &'a Section) -> Self {
        let providers = section.providers.iter().map(|(name, rule)| Provider {
            name,
            aliases: aliases(section, name),
            fields: fields(rule),
        });
        Self {
            name: &section.name,
            provider_from: names(&section.provider_from),
            placeholders: section.placeholders.iter().map(String::as_str).collect(),
            providers: providers.collect(),
            other: Other {
                fields: fields(&section.other),
                warn: section.warn,
            },
        }
    }
}

impl<'a> KindJson<'a> {
    fn of(kind: &'a Kind) -> Self {
        let (name, min, max) = match kind {
            Kind::Text | Kind::OneOf(_) => ("text", &None, &None),
            Kind::Number { min, max } => ("number", min, max),
            Kind::Integer { min, max } => ("integer", min, max),
            Kind::Boolean => ("boolean", &None, &None),
            Kind::Json => ("json", &None, &None),
        };
        let values = match kind {
            Kind::OneOf(values) => Some(&**values),
            _ => None,
        };
        Self {
            r#type: name,
            min: raw(min.as_deref()),
            max: raw(max.as_deref()),
            values,
        }
    }
}

fn fields(rule: &Rule) -> Vec<FieldJson<'_>> {
    rule.iter()
        .map(|field| FieldJson {
            field: field.path.to_string(),
            from: names(&field.from),
            kind: field.kind.as_ref().map(KindJson::of),
            default: raw(field.default.as_deref()),
        })
        .collect()
}

/// The names of a provider beside its own, in the form in which they are compared.
fn aliases<'a>(section: &'a Section, provider: &str) -> Vec<&'a str> {
    let names = section.names.iter();
    let names = names.filter(|(name, of)| *of == provider && **name != *normal(provider));
    names.map(|(name, _)| name.as_str()).collect()
}

fn names(paths: &[Path]) -> Vec<String> {
    paths.iter().map(ToString::to_string).collect()
}

/// JSON text as it is. The reader of the rules has found it valid.
fn raw(text: Option<&str>) -> Option<&RawValue> {
    serde_json::from_str(text?).ok()
}
