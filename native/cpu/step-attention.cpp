// What the rows of a step see, how their attention is cut into pieces, and the pieces.
#include <algorithm>

#include "step.h"

namespace millrace {

// How many places a row sees, before a window cuts them.
int32_t Step::placesOf(int32_t row) const {
  return seen_[row] + (listStarts_.empty() ? 0 : listStarts_[row + 1] - listStarts_[row]);
}

// The slot at a place that a row sees.
int32_t Step::slotAt(int32_t row, int32_t place) const {
  return place < seen_[row] ? place : listed_[listStarts_[row] + place - seen_[row]];
}

// A row's own place is the last one, unless others behind it are seen.
int32_t Step::ownPlace(int32_t row) const { return slots_[row] < seen_[row] - 1 ? slots_[row] : placesOf(row) - 1; }

// The first place that a window leaves to a row.
int32_t Step::oldestPlace(int32_t row, int32_t window) const {
  return window > 0 ? std::max(0, ownPlace(row) - window + 1) : 0;
}

bool Step::planAttention(size_t index) {
  GroupPlan& plan = groups_[index];
  const PoolGroup& group = *program_.pool->groups[index];
  int threads = program_.threads();
  plan.items.clear();
  plan.splits.clear();
  if (group.isRows()) return true;
  size_t pieces = 0;
  for (const Sequence& sequence : sequences_) pieces += (sequence.rows + kAttendRows - 1) / kAttendRows;
  // Tiles are a way to share work; where there is enough of it, or one thread, whole rows cost less.
  bool few = threads > 1 && pieces * static_cast<size_t>(group.kvHeads) < kFewPieces * static_cast<size_t>(threads);
  size_t perTile = static_cast<size_t>(program_.heads[index]) * (static_cast<size_t>(group.valueDim) + 2);
  size_t partialsLeft = program_.partialFloats() / perTile;
  int32_t partial = 0;
  auto add = [&](const Item& item) {
    if (!plan.items.grow(plan.items.size() + 1)) return false;
    plan.items.push(item);
    return true;
  };
  for (int32_t s = 0; s < static_cast<int32_t>(sequences_.size()); s++) {
    const Sequence& sequence = sequences_[s];
    int32_t rows = sequence.rows, tileBegin = INT32_MAX, tileEnd = (sequence.places - 1) / kTileTokens + 1;
    for (int32_t row = sequence.row; few && row < sequence.row + rows; row++) {
      tileBegin = std::min(tileBegin, oldestPlace(row, group.window) / kTileTokens);
    }
    int32_t tiles = tileEnd - tileBegin;
    size_t wanted = static_cast<size_t>(std::max(tiles, 0)) * static_cast<size_t>(rows);
    if (few && rows <= kAttendRows && tiles > 1 && wanted <= partialsLeft) {
      if (!plan.splits.grow(plan.splits.size() + 1)) return false;
      auto split = static_cast<int32_t>(plan.splits.size());
      for (int32_t tile = tileBegin; tile < tileEnd; tile++) {
        if (!add({s, 0, rows, tile, split})) return false;
      }
      for (int32_t head = 0; head < group.kvHeads; head++) {
        plan.tilesLeft[static_cast<size_t>(split * group.kvHeads + head)].store(tiles, std::memory_order_relaxed);
      }
      plan.splits.push({s, tileBegin, tiles, partial});
      partial += tiles * rows;
      partialsLeft -= wanted;
      continue;
    }
    // Rows that are done together read their keys and values once. The last rows first: they see the most.
    int32_t together = few ? std::clamp(rows * group.kvHeads / (2 * threads), 1, kAttendRows) : kAttendRows;
    for (int32_t end = rows; end > 0;) {
      int32_t begin = std::max(0, end - together);
      if (!add({s, begin, end, -1, -1})) return false;
      end = begin;
    }
  }
  return true;
}

AttendArgs Step::attendArgs(const op::Attend& in, int32_t index) const {
  const Sequence& sequence = sequences_[index];
  const GroupPlan& plan = groups_[in.group];
  AttendArgs args{};
  args.kv = &in.kv;
  args.blockTable = plan.tables.data() + plan.tableOf[index];
  args.q = program_.at(in.q, static_cast<size_t>(sequence.row));
  args.ldq = in.q.stride;
  args.heads = in.heads;
  args.scale = in.scale;
  args.softcap = in.softcap;
  args.window = program_.pool->groups[in.group]->window;
  args.chunk = in.chunk;
  args.ahead = in.ahead;
  args.sinks = in.sinks;
  args.slopes = in.slopes.empty() ? nullptr : in.slopes.data();
  if (!in.distances.empty()) {
    args.distances = in.distances.data();
    args.reach = static_cast<int32_t>(in.distances.size() / static_cast<size_t>(in.heads) / 2);
  }
  args.slots = slots_.data() + sequence.row;
  args.seen = seen_.data() + sequence.row;
  if (!listStarts_.empty()) {
    args.listStarts = listStarts_.data() + sequence.row;
    args.listed = listed_.data();
  }
  args.out = program_.at(in.y, static_cast<size_t>(sequence.row));
  args.ldo = in.y.stride;
  return args;
}

void Step::attend(const op::Attend& in, int i, uint8_t* scratch) {
  const Item& item = groups_[in.group].items[static_cast<size_t>(i / in.kv.kvHeads)];
  int head = i % in.kv.kvHeads;
  AttendArgs args = attendArgs(in, item.sequence);
  auto& counters = program_.counters->attend;
  auto type = static_cast<int>(in.kv.type);
  bool isWhole = item.split < 0;
  if (isWhole) {
    program_.kernels->attendRows(args, head, item.rowBegin, item.rowEnd, scratch);
  } else {
    attendTile(in, args, head, item, scratch);
  }
  counters[isWhole ? 0 : 1][type].fetch_add(static_cast<uint64_t>(item.rowEnd - item.rowBegin),
                                            std::memory_order_relaxed);
}

void Step::attendTile(const op::Attend& in, const AttendArgs& args, int kvHead, const Item& item, uint8_t* scratch) {
  const GroupPlan& plan = groups_[in.group];
  const Split& split = plan.splits[static_cast<size_t>(item.split)];
  size_t perTile = static_cast<size_t>(in.heads) * (static_cast<size_t>(in.kv.valueDim) + 2);
  size_t perRow = perTile * static_cast<size_t>(split.tiles);
  float* partials = program_.partials() + split.partial * perTile + kvHead * (perTile / in.kv.kvHeads);
  program_.kernels->attendTile(args, kvHead, item.rowBegin, item.rowEnd, item.tile,
                               partials + static_cast<size_t>(item.tile - split.tileBegin) * perTile, perRow, scratch);
  std::atomic<int32_t>& left = plan.tilesLeft[static_cast<size_t>(item.split * in.kv.kvHeads + kvHead)];
  if (left.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
  left.store(split.tiles, std::memory_order_relaxed);  // for the next layer
  for (int32_t row = item.rowBegin; row < item.rowEnd; row++) {
    program_.kernels->attendMerge(args, kvHead, row, partials + static_cast<size_t>(row) * perRow, perTile,
                                  split.tileBegin, split.tileBegin + split.tiles);
  }
}

}  // namespace millrace
