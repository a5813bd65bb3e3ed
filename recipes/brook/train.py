"""Trains brook on packed text, or rill on brook's distributions (white box: the whole softmax at temperature 1).

    python3 train.py brook PACKED OUT --seconds 430      python3 train.py rill PACKED OUT --teacher brook-q8_0.gguf --seconds 240

The number of steps is set from the seconds after 60 measured steps, or by --steps. Writes OUT/NAME.pt and OUT/NAME.log.json.
"""

import argparse, json, time, torch, torch.nn.functional as F
from model import BROOK, CUDA, DEV, RILL, TINY, Config, Llama, Optimizer, check_attention, schedule
from pack import Batches

PEAK = 989e12  # dense bf16 FLOP/s of an H100 or H200 by the datasheet


def load(path):
    if path.endswith(".gguf"):
        import evaluate

        return evaluate.model_of(path)
    s = torch.load(path, map_location=DEV)
    m = Llama(Config(**s["config"])).to(DEV)
    m.load_state_dict(s["state"])
    return m


def to_device(b):
    x, y, w, a, pos, cu, longest, ms = b
    t = lambda v: torch.from_numpy(v).pin_memory().to(DEV, non_blocking=True) if CUDA else torch.from_numpy(v)
    return t(x), t(y), t(w), t(a), t(pos), t(cu), longest, ms


def kl(student, teacher):
    """KL(teacher ‖ student) per row."""
    ls, lt = F.log_softmax(student.float(), -1), F.log_softmax(teacher.float(), -1)
    return (lt.exp() * (lt - ls)).sum(-1)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("which")
    a.add_argument("packed")
    a.add_argument("out")
    a.add_argument("--seconds", type=float, default=60)
    a.add_argument("--steps", type=int)
    a.add_argument("--batch", type=int, default=131072)
    a.add_argument("--teacher")
    a.add_argument("--lr", type=float, default=0.02)
    a.add_argument("--decay", type=float, default=0.05)
    a.add_argument("--lr-emb", type=float, default=2e-3)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--no-compile", action="store_true")
    o = a.parse_args()
    torch.manual_seed(o.seed)
    torch.set_float32_matmul_precision("high")
    born = time.time()
    conf = {"brook": BROOK, "rill": RILL, "tiny": TINY}[o.which]
    if CUDA:
        print(torch.cuda.get_device_name(), torch.__version__)
    check_attention()
    m = Llama(conf).to(DEV)
    teacher = load(o.teacher).eval().requires_grad_(False) if o.teacher else None
    opt = Optimizer(m, lr=o.lr, decay=o.decay, lr_emb=o.lr_emb)
    train = Batches(o.packed, "train", o.batch, o.seed)

    def loss_fn(x, y, w, pos, cu, longest):
        if teacher is None:
            l = m.losses(x, y, pos, cu, longest)
        else:
            with torch.no_grad():
                t = teacher.logits(teacher.hidden(x, pos, cu, longest))
            l = kl(m.logits(m.hidden(x, pos, cu, longest)), t)
        return (l * w).sum() / w.sum().clamp(min=1)

    def eval_fn(x, y, pos, cu):
        s = m.logits(m.hidden(x, pos, cu)).float()
        ce = F.cross_entropy(s, y, reduction="none")
        if teacher is None:
            return ce, ce, s.argmax(-1) == y
        t = teacher.logits(teacher.hidden(x, pos, cu)).float()
        return ce, kl(s, t), s.argmax(-1) == t.argmax(-1)

    if CUDA and not o.no_compile:
        loss_fn, eval_fn = torch.compile(loss_fn, dynamic=False), torch.compile(eval_fn, dynamic=False)
    held = [b for b in iter(Batches(o.packed, "held", o.batch, 0, chains=0.0, once=True).get, None)]

    @torch.no_grad()
    def evaluate(limit):
        s = torch.zeros(4, device=DEV, dtype=torch.float64)
        for b in held[:limit]:
            x, y, w, asst, pos, cu, _, _ = to_device(b)
            ce, k, hit = eval_fn(x, y, pos, cu)
            f = asst.double()
            s += torch.stack([(ce * f).sum(), (k * f).sum(), (hit * f).sum(), f.sum()])
        s = (s / s[3].clamp(min=1)).tolist()
        return {"loss": s[0], "kl" if teacher else "loss_": s[1], "agreement" if teacher else "accuracy": s[2]}

    print(
        f"{conf.name}: {m.count() / 1e6:.2f} M parameters, {train.len.sum() / 1e6:.1f} M training tokens in {len(train.len)} dialogues, {sum(int(b[3].sum()) for b in held)} held-out answer tokens",
        flush=True,
    )
    total, step, log, ms_sum, t0, mark = o.steps or 10**9, 0, [], 0.0, 0.0, (0.0, 0)
    while step < total:
        x, y, w, asst, pos, cu, longest, ms = to_device(train.get())
        loss = loss_fn(x, y, w, pos, cu, longest)
        loss.backward()
        opt.step(schedule(step, total))
        ms_sum += ms
        step += 1
        if step == 1:
            t0 = time.time()
            mark = (t0, 1)
        if step == 20 or step == 60 and not o.steps:
            if CUDA:
                torch.cuda.synchronize()
            now = time.time()
            if step == 20:
                t0 = now
                mark = (now, step)
                print(f"first 20 steps (compiling included) {now - born:.1f} s, loss {loss.item():.3f}", flush=True)
            else:
                per = (now - t0) / 40
                total = max(80, int(20 + o.seconds / per))
                print(f"{per * 1e3:.1f} ms a step -> {total} steps", flush=True)
        if step % 250 == 0 or step == total:
            l = loss.item()
            now = time.time()
            rate = (step - mark[1]) * o.batch / max(1e-9, now - mark[0])
            fl = m.flops(ms_sum / step) + (teacher.flops(ms_sum / step) / 3 if teacher else 0)
            mfu = rate * fl / PEAK
            e = evaluate(4 if step < total else None)
            mark = (time.time(), step)
            log.append(
                {
                    "step": step,
                    "loss": l,
                    "tokens_per_s": rate,
                    "mfu": mfu,
                    "epoch": train.epoch,
                    "held": e,
                    "seconds": now - t0,
                }
            )
            print(
                f"step {step}/{total} loss {l:.4f} {rate / 1e6:.2f} M tok/s MFU {mfu:.1%} epoch {train.epoch:.2f}",
                {k: round(v, 4) for k, v in e.items()},
                f"{now - t0:.0f} s",
                flush=True,
            )
    torch.save({"config": conf.__dict__, "state": m.state_dict(), "steps": step}, f"{o.out}/{conf.name}.pt")
    json.dump(
        {
            "args": vars(o),
            "parameters": m.count(),
            "steps": step,
            "tokens": step * o.batch,
            "seconds": time.time() - born,
            "log": log,
        },
        open(f"{o.out}/{conf.name}.log.json", "w"),
        indent=1,
    )
    if CUDA:
        print(f"peak memory {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB")
    print(f"{conf.name} done in {time.time() - born:.0f} s", flush=True)


if __name__ == "__main__":
    main()
