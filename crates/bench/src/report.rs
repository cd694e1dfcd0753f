//! What was measured, as people and programs read it.

use crate::Scenario;
use serde_json::{Map, Value, json};
use std::fmt::{self, Write as _};

/// Figures of one scenario, in rows of the same columns.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    /// What was measured.
    pub scenario: Scenario,
    /// How, in one line.
    pub title: String,
    /// What each figure is, its unit last. In JSON with `_` for blanks.
    pub columns: Vec<&'static str>,
    /// One thing that was measured, or that could not be.
    pub rows: Vec<Row>,
    /// What must be known to read it.
    pub notes: Vec<String>,
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// A figure for each column; none where there is nothing to say.
    pub figures: Vec<Option<f64>>,
    /// What is to be known of it, or why there are no figures.
    pub note: Option<String>,
}

impl Row {
    /// A row of figures.
    pub fn of(name: impl Into<String>, figures: Vec<Option<f64>>) -> Self {
        Self { name: name.into(), figures, note: None }
    }

    /// A row without figures, and why.
    pub fn absent(name: impl Into<String>, why: impl Into<String>) -> Self {
        Self { name: name.into(), figures: Vec::new(), note: Some(why.into()) }
    }

    /// The row with a note.
    pub fn noted(self, note: impl Into<String>) -> Self {
        Self { note: Some(note.into()), ..self }
    }
}

impl Table {
    /// A table without rows.
    pub fn new(scenario: Scenario, title: impl Into<String>, columns: &[&'static str]) -> Self {
        let (title, columns) = (title.into(), columns.to_vec());
        Self { scenario, title, columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// As JSON: the columns are the fields of each row.
    pub fn json(&self) -> Value {
        let row = |row: &Row| {
            let mut object = Map::new();
            object.insert("name".into(), json!(row.name));
            for (column, figure) in self.columns.iter().zip(&row.figures) {
                object.insert(column.replace(' ', "_"), json!(figure));
            }
            if let Some(note) = &row.note {
                object.insert("note".into(), json!(note));
            }
            Value::Object(object)
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"scenario": self.scenario.name(), "title": self.title, "rows": rows, "notes": self.notes})
    }
}

/// Fewest characters of a figure's column.
const FIGURE_CHARS: usize = 8;

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.title)?;
        let names = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let width = |column: &str| column.len().max(FIGURE_CHARS);
        let mut line = " ".repeat(names);
        for column in &self.columns {
            write!(line, "  {column:>width$}", width = width(column))?;
        }
        writeln!(f, "{line}")?;
        for row in &self.rows {
            let mut line = format!("{:<names$}", row.name);
            for (column, figure) in self.columns.iter().zip(&row.figures) {
                let text = figure.map_or_else(|| "-".to_owned(), short);
                write!(line, "  {text:>width$}", width = width(column))?;
            }
            match &row.note {
                Some(note) if row.figures.is_empty() => write!(line, "  {note}")?,
                Some(note) => write!(line, "  ({note})")?,
                None => {}
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "  {note}"))
    }
}

/// Three digits or so: no machine repeats more.
fn short(figure: f64) -> String {
    match figure.abs() {
        size if size >= 100.0 => format!("{figure:.0}"),
        size if size >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}

/// One figure for so many of another, where both are known.
pub fn ratio(of: Option<f64>, to: Option<f64>) -> Option<f64> {
    Some(of? / to?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(Scenario::Cold, "40 rounds", &["bare p50 ms", "x"]);
        table.rows.push(Row::of("python", vec![Some(9.123), Some(0.25)]).noted("of the image"));
        table.rows.push(Row::of("bash", vec![Some(123.4), None]));
        table.rows.push(Row::absent("node", "not found: node"));
        table.notes.push("the machine was busy".into());
        table
    }

    #[test]
    fn for_people() {
        let text = "\
cold: 40 rounds
        bare p50 ms         x
python         9.12      0.25  (of the image)
bash            123         -
node    not found: node
  the machine was busy
";
        assert_eq!(table().to_string(), text);
    }

    #[test]
    fn for_programs() {
        let row = json!({"name": "python", "bare_p50_ms": 9.123, "x": 0.25, "note": "of the image"});
        assert_eq!(table().json()["rows"][0], row);
        assert_eq!(table().json()["rows"][2], json!({"name": "node", "note": "not found: node"}));
    }
}
