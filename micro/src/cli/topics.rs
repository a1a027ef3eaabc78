//! What `micro help TOPIC` says.

/// Each topic, what it is about, and its text.
pub(super) const TOPICS: [(&str, &str, &str); 5] = [
    ("exit-codes", "what exit codes say", EXIT_CODES),
    ("environment", "the variables that are read", ENVIRONMENT),
    ("formatting", "the forms that answers are written in", FORMATTING),
    ("configuration", "files, contexts, and which setting wins", CONFIGURATION),
    ("calling", "how methods, requests and endpoints are named", CALLING),
];

const EXIT_CODES: &str = "\
Exit codes

  0        done; a command that runs until it is stopped was stopped
  1        another failure
  2        usage: the command line, a record, a request or a URL is wrong
  3        no such service, endpoint or method, or one that does not serve
  4        not allowed
  5        no answer in time from a registry or a broker
  6        a registry or a broker cannot be reached
  8        a setting is wrong: a file, a context, the environment
  64 + N   a call ended with gRPC status N, or nobody was reached, which is 78:
           65 CANCELLED           66 UNKNOWN              67 INVALID_ARGUMENT
           68 DEADLINE_EXCEEDED   69 NOT_FOUND            70 ALREADY_EXISTS
           71 PERMISSION_DENIED   72 RESOURCE_EXHAUSTED   73 FAILED_PRECONDITION
           74 ABORTED             75 OUT_OF_RANGE         76 UNIMPLEMENTED
           77 INTERNAL            78 UNAVAILABLE          79 DATA_LOSS
           80 UNAUTHENTICATED
  130      SIGINT ended a command that does not run until it is stopped
  143      SIGTERM did
";

const ENVIRONMENT: &str = "\
Environment

  MICRO_REGISTRY                 --registry
  MICRO_BROKER                   --broker
  MICRO_TRANSPORT                --transport
  MICRO_PROXY_ADDRESS            --proxy
  MICRO_OUTPUT                   --output
  MICRO_COLOR                    --color
  MICRO_CONTEXT                  --context
  MICRO_CONFIG                   --config
  MICRO_HISTORY                  the file that keeps what is typed to micro cli, or off
  MICRO_REGISTER_TTL             --ttl of register
  MICRO_CLIENT_REQUEST_TIMEOUT   --timeout of call
  MICRO_LOG                      how much is told on standard error: off, error, warn (unless set),
                                 info, debug
  NO_COLOR                       no colours, unless --color always
  CLICOLOR_FORCE=1               colours, also where there is no terminal
  XDG_CONFIG_HOME, HOME          where the user's directory is
  XDG_STATE_HOME, HOME           where the shell's history is: ~/.local/state/micro/history
";

const FORMATTING: &str = "\
Formatting

  --output table      for people: the default
  --output wide       for people, with every field
  --output json       for programs; a document per line where there may be several answers
  --output ndjson     for programs, one document per line: lists come apart
  --output yaml       for programs
  --output name       names or ids alone, one per line
  --output original   as go-micro's micro writes it
  --fields a,b.c      only these fields of each row, in this order; a dot leads into what is inside,
                      and into each of a list, as in micro get greeter --fields endpoints.address

Data goes to standard output; progress, warnings and errors go to standard error. Who types a request
at a terminal, or talks to the bot, sees no progress: it would be written over what is typed.
";

const CONFIGURATION: &str = "\
Configuration

A setting is what the first of these says:

  1. the flag                          --registry etcd://127.0.0.1:2379
  2. the variable                      MICRO_REGISTRY
  3. the context in use                micro context use prod, --context prod
  4. ./micro.toml                      registry = \"etcd://127.0.0.1:2379\"
  5. ~/.config/micro/config.toml       the same; --config names another
  6. the default

micro config show says what each one is, and who says so; micro config validate reads them all.
micro context add prod --registry etcd://10.0.0.1:2379 makes a context; micro context - goes back
to the one before.
";

const CALLING: &str = "\
Calling

  SERVICE     its name in the registry: greeter; or an address: 127.0.0.1:50051, https://host,
              unix:/run/greeter.sock
  METHOD      as much of its name as tells it from others: Hello, Greeter.Hello,
              greeter.Greeter/Hello
  REQUEST     JSON, key=value pairs (dots for messages in messages, := for JSON), @FILE, or - for
              standard input; for a method that takes a stream any number of documents
  --endpoint  only the endpoint with this id or address
  --address   this server, whatever the registry says

A server says by reflection (grpc.reflection v1, or else v1alpha) what it can be asked. Where it
does not, --proto FILE -I DIR or --protoset FILE says so; micro describe SERVICE --protoset-out FILE
writes down what a server says. A request is checked before it is sent.
";
