/**
 * The functions and constants that chat templates may expect beside their messages, as transformers provides them.
 */
import { RequestError } from "../errors.ts";

export function templateGlobals(now: () => Date): Record<string, unknown> {
  return {
    true: true,
    false: false,
    none: null,
    True: true,
    False: false,
    None: null,
    raise_exception: (message: unknown) => {
      throw new RequestError(`the model's chat template refuses these messages: ${String(message)}`);
    },
    strftime_now: (format: unknown) => formatTime(now(), String(format)),
  };
}

const MONTHS = [
  "January",
  "February",
  "March",
  "April",
  "May",
  "June",
  "July",
  "August",
  "September",
  "October",
  "November",
  "December",
];
const DAYS = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/** Python's strftime in its C locale, local time. */
export function formatTime(time: Date, format: string): string {
  const two = (value: number): string => String(value).padStart(2, "0");
  const month = MONTHS[time.getMonth()] ?? "";
  const day = DAYS[time.getDay()] ?? "";
  return format.replace(/%(-?)([a-zA-Z%])/g, (directive, dash: string, letter: string) => {
    const number = (value: number): string => (dash === "-" ? String(value) : two(value));
    switch (letter) {
      case "Y":
        return String(time.getFullYear());
      case "y":
        return two(time.getFullYear() % 100);
      case "m":
        return number(time.getMonth() + 1);
      case "B":
        return month;
      case "b":
        return month.slice(0, 3);
      case "d":
        return number(time.getDate());
      case "A":
        return day;
      case "a":
        return day.slice(0, 3);
      case "H":
        return number(time.getHours());
      case "I":
        return number(time.getHours() % 12 || 12);
      case "p":
        return time.getHours() < 12 ? "AM" : "PM";
      case "M":
        return number(time.getMinutes());
      case "S":
        return number(time.getSeconds());
      case "%":
        return "%";
      default:
        return directive;
    }
  });
}
