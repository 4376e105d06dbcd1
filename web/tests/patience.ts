/** What a test waits for comes later on a busy machine. */

import { configure } from "@testing-library/preact";

configure({ asyncUtilTimeout: 60_000 });
