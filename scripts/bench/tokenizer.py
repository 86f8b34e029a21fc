"""MB a second of encoding lines of text as WordPiece ids: minibert, Hugging Face's tokenizers, flash-tokenizer and BlingFire.

The same lines and the same vocabulary for all (BlingFire has bert-base-uncased built in); reading the file and splitting it into lines
is not counted, making the ids is. minibert is measured with offsets, and from file to file with `minibert tokenizer encode`.
--adversarial adds lines of 1 MB that hold one thing. --train N adds the training of a vocabulary of N pieces.
"""
import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time

import turns

ADVERSARIAL = {"a": "a", "combining marks": "\u0301", "marks that are kept": "\u302e\u0323\u302f", "#": "#", "[": "[", "[MAS": "[MAS", "\u03a3'": "\u03a3'"}


class Peers:
    def __init__(self, arguments, directory):
        self.arguments, self.directory = arguments, directory
        with open(arguments.text, encoding="utf-8", errors="replace", newline="\n") as file:
            self.lines = [line.rstrip("\n") for line in file]
        self.megabytes = sum(len(line.encode()) for line in self.lines) / 1e6
        with open(f"{directory}/lines.txt", "w", encoding="utf-8", newline="\n") as file:
            file.writelines(line + "\n" for line in self.lines)
        shutil.copy(arguments.vocab, f"{directory}/vocab.txt")
        with open(f"{directory}/tokenizer_config.json", "w") as file:
            json.dump({"do_lower_case": not arguments.cased}, file)

    def encoder(self, threads, path=None):
        def run():
            output = subprocess.run([self.arguments.encoder, self.directory, path or f"{self.directory}/lines.txt", "1", str(threads)],
                                    check=True, capture_output=True, text=True).stdout
            return json.loads(output)["mb_s"]
        return run

    def program(self, threads):
        def run():
            with open(f"{self.directory}/lines.txt") as source, open(f"{self.directory}/ids.txt", "w") as target:
                start = time.perf_counter()
                subprocess.run([self.arguments.minibert, "tokenizer", "encode", "--model", self.directory, "--threads", str(threads), "--quiet"],
                               stdin=source, stdout=target, check=True)
                return self.megabytes / (time.perf_counter() - start)
        return run

    def hugging_face(self, threads):
        code = ("import json,sys,time;from tokenizers import BertWordPieceTokenizer as T;d,low,n=sys.argv[1],sys.argv[2]=='1',int(sys.argv[3]);"
                "t=T(d+'/vocab.txt',lowercase=low)._tokenizer;l=open(d+'/lines.txt',encoding='utf-8',newline='\\n').read().split('\\n')[:-1][:n];"
                "b=sum(len(x.encode()) for x in l);s=time.perf_counter();[t.encode_batch_fast(l[i:i+5000]) for i in range(0,len(l),5000)];print(b/1e6/(time.perf_counter()-s))")

        def run():
            environment = {**os.environ, "RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
            n_lines = max(1, int(len(self.lines) * self.arguments.peer_fraction))
            return float(subprocess.run([self.arguments.python, "-c", code, self.directory, str(int(not self.arguments.cased)), str(n_lines)],
                                        check=True, capture_output=True, text=True, env=environment).stdout)
        return run

    def some_lines(self):
        lines = self.lines[:max(1, int(len(self.lines) * self.arguments.peer_fraction))]
        return lines, sum(len(line.encode()) for line in lines) / 1e6

    def flash(self):
        from flash_tokenizer._core import FlashBertTokenizer
        tokenizer = FlashBertTokenizer(f"{self.directory}/vocab.txt", not self.arguments.cased, -1, True)
        lines, megabytes = self.some_lines()

        def run():
            start = time.perf_counter()
            for line in lines:
                tokenizer.encode(line, "longest", -1)
            return megabytes / (time.perf_counter() - start)
        return run

    def bling_fire(self):
        import blingfire
        handle = blingfire.load_model(os.path.join(os.path.dirname(blingfire.__file__), "bert_base_tok.bin"))
        lines, megabytes = self.some_lines()

        def run():
            start = time.perf_counter()
            for line in lines:
                blingfire.text_to_ids(handle, line, 2000, 100, no_padding=True)
            return megabytes / (time.perf_counter() - start)
        return run


def train(arguments, directory):
    """Seconds of training a vocabulary, minibert and Hugging Face by turns."""
    def ours():
        start = time.perf_counter()
        subprocess.run([arguments.minibert, "tokenizer", "train", "--corpus", arguments.text, "--out", f"{directory}/trained", "--vocab-size",
                        str(arguments.train), "--threads", str(arguments.threads), "--quiet"], check=True)
        return time.perf_counter() - start

    def theirs():
        code = ("import sys;from tokenizers import BertWordPieceTokenizer as T;t=T(lowercase=True);"
                "t.train([sys.argv[1]],vocab_size=int(sys.argv[2]),show_progress=False);t.save_model(sys.argv[3])")
        start = time.perf_counter()
        subprocess.run([arguments.python, "-c", code, arguments.text, str(arguments.train), directory + "/hf"], check=True,
                       env={**os.environ, "RAYON_NUM_THREADS": str(arguments.threads)})
        return time.perf_counter() - start

    os.makedirs(f"{directory}/hf", exist_ok=True)
    seconds, peer = ours(), theirs()
    result = {"train_seconds": round(seconds, 2), "hf_seconds": round(peer, 2), "ratio": round(peer / seconds, 2)}
    if arguments.valid:
        result |= compare_vocabularies(arguments.valid, f"{directory}/trained/vocab.txt", f"{directory}/hf/vocab.txt")
    print(json.dumps(result))


def compare_vocabularies(text, ours, theirs):
    """Wordpieces a word of a held-out text (both encoded by Hugging Face tokenizers), and how many pieces are in both."""
    from tokenizers import BertWordPieceTokenizer
    with open(text, encoding="utf-8") as file:
        lines = [line for line in file.read().split("\n") if line]
    counts, pieces = [], []
    for vocab in (ours, theirs):
        tokenizer = BertWordPieceTokenizer(vocab, lowercase=True)
        encodings = tokenizer.encode_batch(lines, add_special_tokens=False)
        n_words = sum(len(set(e.word_ids)) for e in encodings)
        counts.append(sum(len(e.ids) for e in encodings) / n_words)
        pieces.append(set(tokenizer.get_vocab()))
    return {"pieces_a_word": round(counts[0], 5), "hf_pieces_a_word": round(counts[1], 5),
            "more_pieces": f"{100 * (counts[0] / counts[1] - 1):+.3f}%", "vocabulary": len(pieces[0]), "hf_vocabulary": len(pieces[1]),
            "in_both": len(pieces[0] & pieces[1])}


def main():
    import sys
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minibert", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--encoder", required=True, help=argparse.SUPPRESS)
    parser.add_argument("--text", required=True, help="UTF-8 text, one line a text")
    parser.add_argument("--vocab", required=True, help="vocab.txt")
    parser.add_argument("--cased", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2, help="of the contestants that can")
    parser.add_argument("--peer-fraction", type=float, default=1, help="how much of the text the slower peers get")
    parser.add_argument("--adversarial", action="store_true")
    parser.add_argument("--train", type=int, metavar="N", help="time the training of a vocabulary of N pieces instead")
    parser.add_argument("--valid", help="with --train: a held-out text to compare the two vocabularies on")
    arguments = parser.parse_args()
    arguments.python = sys.executable
    with tempfile.TemporaryDirectory() as directory:
        if arguments.train:
            train(arguments, directory)
            return
        peers = Peers(arguments, directory)
        contestants = {"minibert, 1 thread": peers.encoder(1), f"minibert, {arguments.threads} threads": peers.encoder(arguments.threads),
                       "minibert tokenizer encode, file to file, 1": peers.program(1),
                       f"minibert tokenizer encode, file to file, {arguments.threads}": peers.program(arguments.threads),
                       "Hugging Face tokenizers, 1 thread": peers.hugging_face(1),
                       f"Hugging Face tokenizers, {arguments.threads} threads": peers.hugging_face(arguments.threads),
                       "flash-tokenizer, 1 thread": peers.flash()}
        if not arguments.cased:
            contestants["BlingFire, 1 thread"] = peers.bling_fire()
        if arguments.adversarial:
            for name, text in ADVERSARIAL.items():
                path = f"{directory}/{len(contestants)}.txt"
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text * ((1 << 20) // len(text.encode())))
                contestants[f"minibert, 1 thread, 1 MB of {name}"] = peers.encoder(1, path)
        turns.measure(contestants, arguments.rounds, "MB/s")


if __name__ == "__main__":
    main()
