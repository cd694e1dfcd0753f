//! The loop of `fireclay agent` with the hands of the service: each speaks of the same things in words of its own.

use agent::{
    Approval, BenchError, Budget, Chat, Desk, Ended, Problem, Program, Provider, Redactor, Reviewer,
    Surroundings, Told, ToolStyle, Workbench, escaped,
};
use model::RunResult;
use server::tasks::{self, Code, End, Hands, Happened, NotDone, Question, Solution, Spent, Worked};
use std::time::Duration;

/// Works on a question until it has an answer, or there will be none.
pub fn work(
    question: &Question,
    hands: &dyn Hands,
    provider: &Provider,
    reviewer: Option<&Provider>,
    redactor: &Redactor,
) -> Worked {
    let chat = Chat::new(question.language, ToolStyle::Auto, question.instructions.as_deref());
    let restored = match &question.conversation {
        Some(saved) => chat.restored(saved),
        None => Ok(chat),
    };
    let mut chat = match restored {
        Ok(chat) => chat,
        Err(error) => {
            let end = End::Failed(format!("the conversation cannot be read: {error}"));
            return Worked { end, last: None, solution: None, spent: Spent::default() };
        }
    };
    let mut bench = Bench(hands);
    let mut told = |told: Told<'_>| tell(hands, redactor, told);
    let stop = || hands.stopped();
    let enter = |until| hands.enter(until);
    let mut approve = |program: &Program| match hands.approve(&code_of(program)) {
        tasks::Approval::Run => Approval::Run,
        tasks::Approval::Edited(code) => Approval::Edited(code),
        tasks::Approval::Refused(why) => Approval::Refused(why),
    };
    let mut desk = Desk::new(provider, &mut bench, &mut told, &stop);
    desk.around = Surroundings { hosts: question.hosts.clone(), files: question.files.clone() };
    desk.redactor = redactor.clone();
    desk.enter = Some(&enter);
    desk.reviewer = question.review.then(|| Reviewer::new(reviewer.cloned()));
    desk.approve = question.ask.then_some(&mut approve as &mut dyn FnMut(&Program) -> Approval);
    let tasks::Budget { turns, tokens, dollars, time_ms, runs } = question.budget;
    desk.budget = Budget { turns, tokens, dollars, time: Duration::from_millis(time_ms), runs };
    let Some(solving) = question.solution else {
        return worked(chat.ask(&mut desk, &question.text), None, redactor);
    };
    let problem = Problem {
        question: &question.text,
        language: question.language,
        instructions: question.instructions.as_deref(),
        passes: solving.max_iterations,
        tests: solving.tests,
    };
    let (ended, solution) = agent::solve(&mut desk, &problem);
    worked(ended, solution, redactor)
}

/// Sandboxes of a task.
struct Bench<'a>(&'a dyn Hands);

fn not_done(not: NotDone) -> BenchError {
    match not {
        NotDone::Refused(why) => BenchError::Refused(why),
        NotDone::Failed(why) => BenchError::Failed(why),
        NotDone::Stopped => BenchError::Stopped,
    }
}

impl Workbench for Bench<'_> {
    fn run(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError> {
        self.0.run(&code_of(program), time_left).map_err(not_done)
    }

    fn run_fresh(&mut self, program: &Program, time_left: Duration) -> Result<RunResult, BenchError> {
        self.0.run_fresh(&code_of(program), time_left).map_err(not_done)
    }

    fn read_file(&mut self, path: &str) -> Result<Vec<u8>, BenchError> {
        self.0.read_file(path).map_err(not_done)
    }

    fn write_file(&mut self, path: &str, content: &[u8]) -> Result<(), BenchError> {
        self.0.write_file(path, content).map_err(not_done)
    }
}

fn code_of(program: &Program) -> Code {
    Code {
        language: program.language,
        code: program.code.clone(),
        stdin: program.stdin.clone(),
        packages: program.packages.clone(),
    }
}

/// What the service records of what happens. What runs is its own doing.
fn tell(hands: &dyn Hands, redactor: &Redactor, told: Told<'_>) {
    let shown = |text: &str| redactor.redact(text);
    hands.happened(match told {
        Told::Thought(text) => Happened::Thought(shown(text)),
        Told::Code(program) => Happened::Code(redacted(program, redactor)),
        Told::Reviewed(reviewed) => Happened::Reviewed(
            super::used_for(reviewed),
            reviewed.reasons.iter().map(|reason| shown(reason)).collect(),
        ),
        Told::Denied(reasons) => Happened::Denied(reasons.iter().map(|reason| shown(reason)).collect()),
        Told::File(done, path, bytes) => Happened::File(done, path, bytes),
        Told::Waiting(why, wait) => Happened::Waiting(escaped(&shown(why)), wait),
        Told::Warning(text) => Happened::Warning(text),
        Told::Spent(spent) => Happened::Spent(spent_of(spent)),
        Told::Said(chat) => Happened::Said(chat.saved()),
        Told::Pass(pass) => Happened::Pass(pass),
        // No tools of others are beside a task of the service.
        Told::Ran(_) | Told::Called(..) => return,
    });
}

fn redacted(program: &Program, redactor: &Redactor) -> Code {
    Code { code: redactor.redact(&program.code), ..code_of(program) }
}

fn spent_of(spent: &agent::Spent) -> Spent {
    Spent {
        turns: spent.turns,
        runs: spent.runs,
        input_tokens: spent.tokens.input,
        cached_tokens: spent.tokens.cached,
        output_tokens: spent.tokens.output,
        dollars: (!spent.unpriced).then_some((spent.dollars * 1e6).round() / 1e6),
    }
}

fn worked(ended: Ended, solution: Option<agent::Solution>, redactor: &Redactor) -> Worked {
    let end = match ended.end {
        agent::End::Answered(answer) => End::Answered(redactor.redact(&answer)),
        agent::End::Exceeded(limit) => End::Exceeded(match limit {
            agent::Limit::Turns => "turns",
            agent::Limit::Tokens => "tokens",
            agent::Limit::Cost => "dollars",
            agent::Limit::Time => "time",
            agent::Limit::Runs => "runs",
        }),
        agent::End::Failed(why) => End::Failed(escaped(&redactor.redact(&why))),
        agent::End::Stopped => End::Stopped,
    };
    let last = ended.last.map(|(program, output)| (redacted(&program, redactor), output));
    let solution = solution.map(|found| Solution {
        prefix: redactor.redact(&found.prefix),
        imports: redactor.redact(&found.imports),
        code: redactor.redact(&found.code),
        tests: redactor.redact(&found.tests),
        output: redactor.redact(&found.output),
    });
    Worked { end, last, solution, spent: spent_of(&ended.spent) }
}
