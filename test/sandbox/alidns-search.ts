import { ApiError, integer } from './product.ts';

/** What a search of records looks at. */
export interface SearchedRecord {
  readonly RR: string;
  readonly Type: string;
  readonly Value: string;
  readonly Line: string;
  readonly Status: string;
}

type Parameters = Readonly<Record<string, string>>;
type Match = (text: string) => boolean;

/**
 * The search of DescribeDomainRecords: LIKE and EXACT look for `KeyWord`; ADVANCED and COMBINATION for the other
 * parameters, where only ADVANCED finds a part of the RR or the value. Without a mode, `KeyWord` decides.
 */
export function searchOf(parameters: Parameters): (record: SearchedRecord) => boolean {
  const keyWord = parameters['KeyWord'];
  const mode = parameters['SearchMode']?.toUpperCase() ?? (keyWord === undefined ? 'ADVANCED' : 'LIKE');
  if (mode === 'LIKE' || mode === 'EXACT') {
    const match = mode === 'LIKE' ? containing(keyWord) : equalTo(keyWord);
    return (record) => match(record.RR) || match(record.Value);
  }
  if (mode !== 'ADVANCED' && mode !== 'COMBINATION') throw invalid('SearchMode');
  const fuzzy = mode === 'ADVANCED' ? containing : equalTo;
  const rr = fuzzy(parameters['RRKeyWord']);
  const value = fuzzy(parameters['ValueKeyWord']);
  const type = equalTo(parameters['TypeKeyWord'] ?? parameters['Type']);
  const line = equalTo(parameters['Line']);
  const status = equalTo(parameters['Status']);
  return (record) =>
    rr(record.RR) && value(record.Value) && type(record.Type) && line(record.Line) && status(record.Status);
}

/** One page of an answer, with the fields that say which. */
export function paged<Item>(all: readonly Item[], parameters: Parameters, maximum: number) {
  const PageNumber = integer(parameters, 'PageNumber', { minimum: 1, maximum: 999_999_999, otherwise: 1 });
  const PageSize = integer(parameters, 'PageSize', { minimum: 1, maximum, otherwise: 20 });
  const start = (PageNumber - 1) * PageSize;
  return { TotalCount: all.length, PageNumber, PageSize, items: all.slice(start, start + PageSize) };
}

export function invalid(name: string): ApiError {
  return new ApiError(400, 'InvalidParameter', `The specified parameter "${name}" is not valid.`);
}

function containing(part: string | undefined): Match {
  return (text) => text.toLowerCase().includes((part ?? '').toLowerCase());
}

function equalTo(wanted: string | undefined): Match {
  return (text) => wanted === undefined || text.toLowerCase() === wanted.toLowerCase();
}
