//! What the demo prints: sentences, claims with their evidence, and what programs printed.

use anyhow::{Result, bail};

use super::{Interrupt, Interrupted};

/// Where the evidence stands, so that it can be read down the page.
const EVIDENCE_COLUMN: usize = 50;

/// Prints, and keeps count of what held.
#[derive(Debug)]
pub struct Narrator {
    interrupt: Interrupt,
    colours: bool,
    acts: u32,
    held: u32,
    broken: u32,
}

impl Narrator {
    /// A narrator who stops between two claims when somebody wants the end.
    pub fn new(interrupt: Interrupt, colours: bool) -> Self {
        Self {
            interrupt,
            colours,
            acts: 0,
            held: 0,
            broken: 0,
        }
    }

    /// Who asks for the end.
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// How many claims held.
    pub fn held(&self) -> u32 {
        self.held
    }

    /// How many did not.
    pub fn broken(&self) -> u32 {
        self.broken
    }

    /// Begins an act.
    ///
    /// # Errors
    ///
    /// [`Interrupted`].
    pub fn act(&mut self, title: &str) -> Result<()> {
        self.check_interrupt()?;
        self.acts += 1;
        println!(
            "\n{}",
            self.painted("1", &format!("{}. {title}", self.acts))
        );
        Ok(())
    }

    /// Says something.
    pub fn say(&self, text: &str) {
        for line in text.lines() {
            println!("   {line}");
        }
    }

    /// Looks whether a claim holds, and shows by what. An error means that it does not.
    ///
    /// # Errors
    ///
    /// [`Interrupted`], and then nothing is said: a Ctrl-C reaches the programs that were looking.
    pub fn claim(&mut self, sentence: &str, look: impl FnOnce() -> Result<String>) -> Result<()> {
        let found = look();
        self.check_interrupt()?;
        let (mark, evidence) = match found {
            Ok(evidence) => {
                self.held += 1;
                (self.painted("32", "✓"), evidence)
            }
            Err(error) => {
                self.broken += 1;
                (self.painted("31", "✗"), format!("{error:#}"))
            }
        };
        let evidence = self.painted("2", evidence.trim_end());
        println!("   {mark} {sentence:<EVIDENCE_COLUMN$}  {evidence}");
        Ok(())
    }

    /// Shows a command and what it printed.
    pub fn printed(&self, command: &str, output: &str) {
        println!("\n   {}", self.painted("1", &format!("$ {command}")));
        for line in output.trim_end().lines() {
            println!("   {line}");
        }
        println!();
    }

    fn check_interrupt(&self) -> Result<()> {
        if self.interrupt.is_requested() {
            bail!(Interrupted);
        }
        Ok(())
    }

    fn painted(&self, code: &str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}
