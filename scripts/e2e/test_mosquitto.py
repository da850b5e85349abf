"""mosquitto_pub and mosquitto_sub, MQTT 3.1.1 and 5."""

import signal
import subprocess

import world
from appliance import wait_until
from machine import run
from mqtt import PATIENCE_S, Client

VERSIONS = ("311", "5")


class Subscriber:
    """A running mosquitto_sub; it exists once the server granted its subscription.

    A server may send retained messages before it says so (MQTT 5 §3.8.4).
    """

    def __init__(self, address, version, *options):
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", "-h", address, "-V", version,
             "-W", str(PATIENCE_S), "-F", "message %t %q %r %p", *options],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        )
        self._early = []
        for line in self.process.stdout:
            if line.startswith("message "):
                self._early.append(line)
            if line.startswith("Subscribed"):
                return
        if not self._early:
            raise AssertionError("mosquitto_sub ended before it was subscribed")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def messages(self):
        """Topic, QoS, retain flag and payload of all messages, up to its end."""
        lines = [line.rstrip("\n") for line in (*self._early, *self.process.stdout)]
        assert self.process.wait() == 0, f"mosquitto_sub ended with {self.process.returncode}"
        return [
            tuple(line.split(" ", 4)[1:]) for line in lines if line.startswith("message ")
        ]


class Mosquitto(world.Test):
    """Each test runs with both versions on either side."""

    def publish(self, version, *options):
        run("mosquitto_pub", "-h", self.address, "-V", version, *options)

    def pairs(self):
        """(version of the publisher, version of the subscriber, a topic of its own)."""
        return [
            (publisher, subscriber, f"{self.id()}/{publisher}-{subscriber}")
            for publisher in VERSIONS for subscriber in VERSIONS
        ]

    def test_a_message_arrives_with_the_lower_qos_of_both_sides(self):
        for publisher, subscriber, topic in self.pairs():
            with self.subTest(topic):
                for sent, asked in ((0, 0), (0, 1), (1, 0), (1, 1)):
                    with Subscriber(self.address, subscriber, "-t", topic, "-q", str(asked),
                                    "-C", "1") as client:
                        self.publish(publisher, "-t", topic, "-q", sent, "-m", "hello world")
                        expected = [(topic, str(min(sent, asked)), "0", "hello world")]
                        self.assertEqual(client.messages(), expected)

    def test_wildcards_select_what_they_should(self):
        filters = {"{}/+/state": 2, "{}/#": 5, "{}/a/state": 1, "{}/+": 1}
        topics = ("{}/a/state", "{}/b/state", "{}/a/state/x", "{}/a", "{}")
        for publisher, subscriber, root in self.pairs():
            with self.subTest(root):
                for topic_filter, count in filters.items():
                    with Subscriber(self.address, subscriber, "-t", topic_filter.format(root),
                                    "-t", "end-of-wildcards", "-C", str(count + 1)) as client:
                        for topic in topics:
                            self.publish(publisher, "-t", topic.format(root), "-m", "x")
                        self.publish(publisher, "-t", "end-of-wildcards", "-m", "x")
                        got = [message[0] for message in client.messages()]
                        self.assertEqual(len(got), count + 1, f"{topic_filter}: {got}")
                        self.assertEqual(got[-1], "end-of-wildcards")

    def test_a_topic_of_dollar_is_not_found_by_wildcards(self):
        with Subscriber(self.address, "5", "-t", "+/topic", "-C", "1") as client:
            self.publish("5", "-t", "$private/topic", "-m", "x")
            self.publish("5", "-t", "public/topic", "-m", "y")
            self.assertEqual(client.messages(), [("public/topic", "0", "0", "y")])

    def test_a_retained_message_waits_for_the_subscriber(self):
        for publisher, subscriber, topic in self.pairs():
            with self.subTest(topic):
                self.publish(publisher, "-t", topic, "-r", "-q", "1", "-m", "first")
                self.publish(publisher, "-t", topic, "-r", "-q", "1", "-m", "kept")
                for topic_filter in (topic, f"{self.id()}/+"):
                    with Subscriber(self.address, subscriber, "-t", topic_filter, "-q", "1",
                                    "-C", "1") as client:
                        self.assertEqual(client.messages(), [(topic, "1", "1", "kept")])
                self.publish(publisher, "-t", topic, "-r", "-n")
                with Subscriber(self.address, subscriber, "-t", topic, "-C", "1") as client:
                    self.publish(publisher, "-t", topic, "-m", "live")
                    self.assertEqual(client.messages(), [(topic, "0", "0", "live")])

    def test_a_will_is_sent_when_its_client_dies(self):
        for publisher, subscriber, topic in self.pairs():
            with self.subTest(topic):
                with Subscriber(self.address, subscriber, "-t", topic, "-q", "1",
                                "-C", "1") as client:
                    with Subscriber(self.address, publisher, "-t", f"{topic}/other", "--will-topic",
                                    topic, "--will-payload", "gone", "--will-qos", "1") as dying:
                        dying.process.send_signal(signal.SIGKILL)
                    self.assertEqual(client.messages(), [(topic, "1", "0", "gone")])

    def test_a_will_is_not_sent_after_disconnect(self):
        for publisher, subscriber, topic in self.pairs():
            with self.subTest(topic):
                with Subscriber(self.address, subscriber, "-t", topic, "-C", "1") as client:
                    self.publish(publisher, "-t", f"{topic}/other", "-m", "x",
                                 "--will-topic", topic, "--will-payload", "gone")
                    self.publish(publisher, "-t", topic, "-m", "ending")
                    self.assertEqual(client.messages(), [(topic, "0", "0", "ending")])

    def test_many_messages_arrive_in_order(self):
        lines = "".join(f"{number}\n" for number in range(500))
        for publisher, subscriber, topic in self.pairs():
            with self.subTest(topic):
                with Subscriber(self.address, subscriber, "-t", topic, "-q", "1", "-C",
                                "500") as client:
                    subprocess.run(
                        ["mosquitto_pub", "-h", self.address, "-V", publisher, "-t", topic,
                         "-q", "1", "-l"], input=lines, text=True, check=True, timeout=60,
                    )
                    got = [message[3] for message in client.messages()]
                    self.assertEqual(got, lines.split())

    def test_one_message_reaches_many_subscribers(self):
        topic = self.id()
        clients = []
        try:
            for number in range(20):
                client = Client(self.address)
                clients.append(client)
                client.connect(f"fan-{number}")
                self.assertEqual(client.subscribe(topic, number % 2), number % 2)
            self.publish("5", "-t", topic, "-q", "1", "-m", "to all")
            for number, client in enumerate(clients):
                message = client.message()
                self.assertEqual((message.payload, message.qos), (b"to all", number % 2))
        finally:
            for client in clients:
                client.close()


class Sessions(world.RealTest):
    """What the appliance counts of its clients."""

    def test_sessions_end_with_their_clients(self):
        def sessions():
            return self.appliance.metrics().total("trunkline_broker_sessions")

        before = wait_until("a scrape", lambda: [sessions()])[0]
        with Subscriber(self.address, "5", "-t", "some/topic"):
            wait_until("the session is counted", lambda: sessions() == before + 1)
        wait_until("the session is gone", lambda: sessions() == before)
