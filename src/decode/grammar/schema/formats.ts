/**
 * The formats that are enforced, as regular expressions. Where a standard allows several spellings the usual one is taken
 * ("T" and "Z" in capitals, no leap seconds); nothing is taken that a standard forbids.
 */
export interface Format {
  readonly pattern: string;
  /** Characters, at most. */
  readonly longest?: number;
  /** Where this is found, the text is no such thing. */
  readonly not?: string;
}

const LEAP_YEAR = "(?:\\d\\d(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)";
const DATE =
  "(?:\\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\\d|30)|02-(?:0[1-9]|1\\d|2[0-8]))" +
  `|${LEAP_YEAR}-02-29)`;
const TIME = "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d+)?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)";
const CLOCK = "T(?:\\d+S|\\d+M(?:\\d+S)?|\\d+H(?:\\d+M(?:\\d+S)?)?)";
const CALENDAR = "(?:\\d+D|\\d+M(?:\\d+D)?|\\d+Y(?:\\d+M(?:\\d+D)?)?)";
const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?";
const HOST = `${LABEL}(?:\\.${LABEL})*`;
const SUBDOMAIN = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const ATOM = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+";
const OCTET = "(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)";
const IPV4 = `${OCTET}(?:\\.${OCTET}){3}`;
const H16 = "[0-9A-Fa-f]{1,4}";
const LS32 = `(?:${H16}:${H16}|${IPV4})`;
const IPV6 =
  `(?:(?:${H16}:){6}${LS32}|::(?:${H16}:){5}${LS32}|(?:${H16})?::(?:${H16}:){4}${LS32}` +
  `|(?:(?:${H16}:){0,1}${H16})?::(?:${H16}:){3}${LS32}|(?:(?:${H16}:){0,2}${H16})?::(?:${H16}:){2}${LS32}` +
  `|(?:(?:${H16}:){0,3}${H16})?::${H16}:${LS32}|(?:(?:${H16}:){0,4}${H16})?::${LS32}` +
  `|(?:(?:${H16}:){0,5}${H16})?::${H16}|(?:(?:${H16}:){0,6}${H16})?::)`;
const PERCENT = "%[0-9A-Fa-f]{2}";
const PCHAR = `(?:[A-Za-z0-9\\-._~!$&'()*+,;=:@]|${PERCENT})`;
const AUTHORITY =
  `(?:(?:[A-Za-z0-9\\-._~!$&'()*+,;=:]|${PERCENT})*@)?` +
  `(?:\\[${IPV6}\\]|(?:[A-Za-z0-9\\-._~!$&'()*+,;=]|${PERCENT})*)(?::\\d*)?`;
const REST = `(?:\\?(?:${PCHAR}|[/?])*)?(?:#(?:${PCHAR}|[/?])*)?`;
const ROOTED = `//${AUTHORITY}(?:/${PCHAR}*)*|/(?:${PCHAR}+(?:/${PCHAR}*)*)?`;
const URI = `[A-Za-z][A-Za-z0-9+.\\-]*:(?:${ROOTED}|${PCHAR}+(?:/${PCHAR}*)*|)${REST}`;
const RELATIVE = `(?:${ROOTED}|(?:[A-Za-z0-9\\-._~!$&'()*+,;=@]|${PERCENT})+(?:/${PCHAR}*)*|)${REST}`;
const POINTER = "(?:/(?:[^~/]|~[01])*)*";

export const FORMATS: Readonly<Record<string, Format>> = {
  "date-time": { pattern: `${DATE}T${TIME}` },
  date: { pattern: DATE },
  time: { pattern: TIME },
  duration: { pattern: `P(?:${CALENDAR}(?:${CLOCK})?|${CLOCK}|\\d+W)` },
  // The rule Mailbox of RFC 5321, which JSON Schema names, without quoted local parts and address literals; it sets no lengths.
  email: { pattern: `${ATOM}(?:\\.${ATOM})*@${SUBDOMAIN}(?:\\.${SUBDOMAIN})*` },
  // A label with hyphens in its third and fourth places is an encoded one ("xn--"), which a pattern can't check.
  hostname: { pattern: HOST, longest: 253, not: "(?:^|\\.)..--" },
  ipv4: { pattern: IPV4 },
  ipv6: { pattern: IPV6 },
  uri: { pattern: URI },
  "uri-reference": { pattern: `(?:${URI}|${RELATIVE})` },
  uuid: { pattern: "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}" },
  "json-pointer": { pattern: POINTER },
  "relative-json-pointer": { pattern: `(?:0|[1-9]\\d*)(?:#|${POINTER})` },
};
