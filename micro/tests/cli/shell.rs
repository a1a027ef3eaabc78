//! Commands typed one after the other.

use crate::echo::Echo;

#[test]
fn a_shell_runs_each_line_and_goes_on_after_a_mistake() {
    let echo = Echo::new();
    let typed =
        "list services\n\nfrobnicate\ncall echo Unary 'text=a b'\nget nobody\n? publish\nquit\nlist\n";
    let run = echo.place.feed(&["cli"], typed);
    assert!(run.out.starts_with("echo\n{\n\t\"text\": \"a b\"\n}\n"), "{run:?}");
    assert!(run.out.contains("TOPIC MESSAGE") && !run.out.contains("ENDPOINTS"), "{run:?}");
    assert!(run.err.contains("error: unknown command\n"), "{run:?}");
    assert!(run.err.contains("there is no service \"nobody\""), "{run:?}");
    assert_eq!(run.code, Some(0), "the last command was help");
    assert_eq!(echo.place.feed(&["cli"], "get nobody\n").code, Some(3));
}
